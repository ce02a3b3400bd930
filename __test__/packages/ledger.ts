// The program that the driver assemblyscript.js compiles: strings, maps, sorting with a closure-free
// comparator, floats, i64, StaticArray, generics, classes with virtual methods, exceptions that abort.

abstract class Entry {
  constructor(
    public id: i32,
    public amount: f64
  ) {}
  abstract weigh(): f64
}
class Debit extends Entry {
  weigh(): f64 {
    return -this.amount
  }
}
class Credit extends Entry {
  constructor(
    id: i32,
    amount: f64,
    public bonus: f64
  ) {
    super(id, amount)
  }
  weigh(): f64 {
    return this.amount + this.bonus
  }
}

class Random {
  constructor(private state: u64) {}
  next(): u32 {
    this.state = this.state * 6364136223846793005 + 1442695040888963407
    return rotr<u32>(<u32>((this.state ^ (this.state >> 18)) >> 27), <u32>(this.state >> 59))
  }
}

function fold<T, U>(values: T[], start: U, step: (all: U, one: T) => U): U {
  let all = start
  for (let i = 0; i < values.length; ++i) all = step(all, values[i])
  return all
}

export function ledger(seed: u64, count: i32): string {
  const random = new Random(seed)
  const entries: Entry[] = []
  const byName = new Map<string, f64>()
  for (let i = 0; i < count; i++) {
    const amount = <f64>random.next() / 1024.0
    const entry: Entry = random.next() & 1 ? new Debit(i, amount) : new Credit(i, amount, Math.sqrt(amount))
    entries.push(entry)
    const name = 'account ' + (random.next() % 97).toString(36).padStart(3, '·')
    byName.set(name, (byName.has(name) ? byName.get(name) : 0.0) + entry.weigh())
  }
  entries.sort((a, b) => (a.weigh() < b.weigh() ? -1 : a.weigh() > b.weigh() ? 1 : a.id - b.id))
  const names = byName.keys().sort()
  const lines = new Array<string>()
  for (let i = 0; i < names.length; i++) lines.push(names[i] + ' ' + byName.get(names[i]).toString())
  const sum = fold<Entry, f64>(entries, 0.0, (all, one) => all + one.weigh())
  lines.push('sum ' + sum.toString() + ', median ' + entries[entries.length >> 1].id.toString())
  return lines.join('\n')
}

export function digits(n: i32): string {
  // Pidigits by Gibbons' spigot, on arrays of u32.
  const length = (n * 10) / 3 + 1
  const a = new StaticArray<u32>(length)
  for (let i = 0; i < length; i++) unchecked((a[i] = 2))
  let held = 0,
    predigit = 0
  let out = ''
  for (let j = 0; j < n; j++) {
    let q: u32 = 0
    for (let i = length - 1; i >= 0; i--) {
      const x: u32 = 10 * a[i] + q * <u32>(i + 1)
      a[i] = x % <u32>(2 * i + 1 || 1)
      q = x / <u32>(2 * i + 1 || 1)
    }
    a[0] = q % 10
    q = q / 10
    if (q == 9) ++held
    else {
      out += q == 10 ? (predigit + 1).toString() + '0'.repeat(held) : predigit.toString() + '9'.repeat(held)
      predigit = q == 10 ? 0 : <i32>q
      held = 0
    }
  }
  return out
}

export function mix(values: Float64Array, key: i64): Float64Array {
  const out = new Float64Array(values.length)
  for (let i = 0; i < values.length; i++)
    out[i] = (reinterpret<f64>(reinterpret<i64>(values[i]) ^ (key >> 20)) % 1e9) + Math.sin(values[i])
  return out
}

export function fail(at: i32): i32 {
  const list = [1, 2, 3]
  if (at < 0) throw new RangeError('negative: ' + at.toString())
  return list[at]
}
