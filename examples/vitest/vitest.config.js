import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    pool: 'threads', // or: vitest run --pool forks
    projects: [
      { extends: true, test: { name: 'direct', include: ['test/direct.test.js'] } },
      {
        extends: true,
        test: { name: 'registered', include: ['test/registered*.test.js'], setupFiles: ['wasm-compile-cache/register'] },
      },
    ],
  },
})
