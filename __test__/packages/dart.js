'use strict'
// dart_fmt: Dart's formatter, of garbage-collected types and JS string builtins (dart2wasm), streamed with the options that
// have the built-in engine resolve those, by fallback. That is its build for browsers, in which there is an address.

const fs = require('node:fs')
const path = require('node:path')
const { run } = require('./loop.js')

const source = `
import 'dart:async';
enum Kind { wide, narrow }
extension type Id(int value) {}
sealed class Shape<T extends num> { const Shape(this.sides); final List<T> sides; T get area; Shape<T> operator +(Shape<T> other); }
class Box extends Shape<double> with Comparable<Box> { Box(super.sides, {required this.kind, String? name}): name = name ?? "schön 🎈", assert(sides.length == 2);
final Kind kind; final String name; @override double get area => switch (sides) { [final a, final b] when a > 0 => a * b, [_, ...] => sides.fold(1, (x, y) => x * y), _ => 0 };
  @override int compareTo(Box other) => area.compareTo(other.area);
Future<void> draw(Stream<int> steps) async { await for (final step in steps) { if (step.isEven) continue; try { print('\${name.padLeft(step)}: $step'); } on FormatException catch (error, stack) { rethrow; } finally { await Future.delayed(const Duration(milliseconds: 1), () => <String, Set<List<int>>>{'a': {[1, 2, 3]}}); } } } }
void main(List<String> arguments) { final numbers = [for (var i = 0; i < 10; i++) if (i.isOdd) ...[i, i * 2, i * 3, i * 5, i * 7, i * 11, i * 13, i * 17, i * 19, i * 23] else i]; final (a, b: c) = (numbers.length, b: 'x'); print(a > 3 && c.isNotEmpty || numbers.any((one) => one % 2 == 0 && one % 3 == 0 && one % 5 == 0) ? 'long enough' : 'short'); }
`

globalThis.location = { href: 'http://localhost/' }

run(async () => {
  const { default: init, format } = await import('@wasm-fmt/dart_fmt/web')
  const file = path.join(path.dirname(require.resolve('@wasm-fmt/dart_fmt/package.json')), 'dart_fmt.wasm')
  await init(new Response(fs.readFileSync(file), { headers: { 'content-type': 'application/wasm' } }))

  return async () => {
    const outputs = []
    for (const [count, options] of [
      [1, { line_width: 40, line_ending: 'crlf' }],
      [1, { line_width: 120 }],
      [20, undefined],
    ]) {
      const text = Array.from({ length: count }, (_, i) => source.replaceAll(/\b(Box|Shape|main)\b/g, `$1${i}`)).join('\n')
      outputs.push(format(text.replaceAll("import 'dart:async';", ''), 'shapes.dart', options))
    }
    for (const [text, options] of [
      ['void main( {', undefined],
      ['class A {}', { language_version: 'x' }],
      ['f() => \ud800;', undefined],
    ]) {
      try {
        outputs.push(format(text, 'broken.dart', options))
      } catch (error) {
        outputs.push(`${error.name}: ${error.message}`)
      }
    }
    return outputs
  }
})
