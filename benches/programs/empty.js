'use strict'
// Nothing; with BENCH_REQUIRE this package and nothing.

if (process.env.BENCH_REQUIRE) require('../../index.js')
