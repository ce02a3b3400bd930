'use strict'
// @php-wasm: a script of PHP. Where V8 suspends stacks (JSPI), that build of it.

const { getPHPLoaderModule } = require('@php-wasm/node-8-3')
const { loadPHPRuntime, PHP } = require('@php-wasm/universal')

const code = `<?php
$primes = array_filter(range(2, 2000), function ($n) { for ($d = 2; $d * $d <= $n; $d++) if ($n % $d == 0) return false; return true; });
echo count($primes), ' ', md5(implode(',', $primes)), ' ', json_encode(['a' => [1, 2.5, null], 'b' => PHP_VERSION]);`

async function main() {
  const php = new PHP(await loadPHPRuntime(await getPHPLoaderModule()))
  console.log((await php.run({ code })).text)
  process.exit(0)
}

main()
