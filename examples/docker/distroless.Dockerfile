# docker build --file distroless.Dockerfile --tag app . && docker run --read-only --tmpfs /tmp app

FROM node:24-slim AS build
WORKDIR /app
ENV WASM_COMPILE_CACHE=/app/.cache WASM_COMPILE_CACHE_CPU=x86-64-v3
COPY package.json package-lock.json ./
RUN npm ci --omit=dev
COPY . .
RUN npx wasm-compile-cache warm node_modules

# There is no shell in it, no npm, and no compiler. 65532 is its user `nonroot`, whose the cache becomes.
FROM gcr.io/distroless/nodejs24-debian12:nonroot
WORKDIR /app
ENV WASM_COMPILE_CACHE=/app/.cache WASM_COMPILE_CACHE_CPU=x86-64-v3
COPY --from=build --chown=65532:65532 /app /app
CMD ["--require", "wasm-compile-cache/register", "main.js"]
