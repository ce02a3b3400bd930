'use strict'
// pyodide, CPython: has the legacy form of exceptions. Python that uses the
// standard library, calls JavaScript, is called by it, and raises.

const { run } = require('./loop.js')

const program = `
import json, re, sys, random, hashlib, decimal, fractions, statistics, itertools, struct, zlib, datetime, textwrap
from dataclasses import dataclass, asdict

@dataclass
class Part:
    name: str
    price: decimal.Decimal

generator = random.Random(42)
parts = [Part(f"part {i} é", decimal.Decimal(generator.randrange(10**6)) / 7) for i in range(300)]
primes = [n for n in range(2, 3000) if all(n % d for d in range(2, int(n**0.5) + 1))]

def deep(n):
    return 0 if n == 0 else 1 + deep(n - 1)

def caught():
    try:
        deep(10**6)
    except RecursionError as error:
        return type(error).__name__

out = {
    "parts": [asdict(part) | {"price": str(part.price)} for part in sorted(parts, key=lambda part: part.price)[:20]],
    "primes": hashlib.sha256(repr(primes).encode()).hexdigest(),
    "fraction": str(sum(fractions.Fraction(1, n) for n in range(1, 60))),
    "stdev": statistics.stdev(generator.gauss(3, 2) for _ in range(1000)),
    "words": re.findall(r"(?<=\\b)[a-z]{2}\\w+", textwrap.fill("the quick brown fox jumps over the lazy dog " * 3, 20)),
    "packed": zlib.compress(struct.pack("<100d", *(n**0.5 for n in range(100)))).hex(),
    "day": (datetime.date(2000, 2, 29) + datetime.timedelta(days=10**4)).isoformat(),
    "products": ["".join(p) for p in itertools.permutations("abcd", 3)][::5],
    "caught": caught(),
    "version": sys.version,
}
json.dumps(out, ensure_ascii=False)
`

run(async () => {
  const { loadPyodide } = await import('pyodide')
  const written = []
  const python = await loadPyodide({ stdout: (line) => written.push(`out ${line}`), stderr: (line) => written.push(`err ${line}`) })
  python.globals.set('weigh', (name, price) => name.length * price)
  return async () => {
    written.length = 0
    const outputs = [python.runPython(program), python.runPython('sum(weigh("x" * n, n / 3) for n in range(500))').toString()]
    const squares = python.runPython('lambda values: [value * value + 0.5 for value in values]')
    const list = squares([1, 2, 3n ** 40n])
    outputs.push(list.toJs().join())
    list.destroy()
    squares.destroy()
    for (const broken of ['1 / 0', 'def f(:', 'weigh(None, 3)']) {
      try {
        outputs.push(String(await python.runPythonAsync(broken)))
      } catch (error) {
        outputs.push(`${error.name} ${error.type} ${error.message}`)
      }
    }
    await python.runPythonAsync('import asyncio\nawait asyncio.sleep(0)\nprint("written", flush=True)')
    return [...outputs, ...written]
  }
})
