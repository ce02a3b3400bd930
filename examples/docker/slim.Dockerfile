# docker build --file slim.Dockerfile --tag app . && docker run --read-only --tmpfs /tmp app

FROM node:24-slim
WORKDIR /app
# Code for many processors: the image does not run where it is built.
ENV WASM_COMPILE_CACHE=/app/.cache WASM_COMPILE_CACHE_CPU=x86-64-v3
# Nobody's home directory is needed. The cache belongs to the one who runs the program.
RUN mkdir /app/.cache && chown 10001:10001 /app/.cache
COPY package.json package-lock.json ./
RUN npm ci --omit=dev
COPY . .
USER 10001:10001
RUN npx wasm-compile-cache warm node_modules
CMD ["node", "--require", "wasm-compile-cache/register", "main.js"]
