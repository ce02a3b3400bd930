'use strict'
// The results as one SVG: bars of time relative to the built-in, on a logarithmic axis; to the left
// of the line is faster. Follows the reader's light or dark scheme, on any background.

const LABELS = 320 // where the bars' area starts
const BARS = 430 // how wide it is
const WIDTH = LABELS + BARS + 130
const BAR = 13
const GAP = 14
const TOP = 74

const style = `
    text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: #1f2328 }
    .title { font-size: 17px; font-weight: 600 }
    .small { font-size: 11px; fill: #59636e }
    .grid { stroke: #59636e; stroke-opacity: .22 }
    .one { stroke: #1f2328; stroke-width: 1.5 }
    .c0 { fill: #8c959f } .c1 { fill: #d4862b } .c2 { fill: #1f7a8c } .c3 { fill: #7a5ba8 }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 }
      .small { fill: #9198a1 }
      .grid { stroke: #9198a1 }
      .one { stroke: #e6edf3 }
      .c0 { fill: #6e7681 } .c1 { fill: #e3a04f } .c2 { fill: #4fb3c7 } .c3 { fill: #a78bd6 }
    }`

const escape = (text) => text.replace(/[<>&"]/g, (char) => `&#${char.charCodeAt(0)};`)

/** "4.8× faster": the ratio in the words of whoever reads it. */
function words(ratio) {
  if (ratio > 0.95 && ratio < 1.05) return 'same'
  const times = ratio < 1 ? 1 / ratio : ratio
  return `${times >= 10 ? times.toFixed(0) : times.toFixed(1)}× ${ratio < 1 ? 'faster' : 'slower'}`
}

const colours = { best: 0, eager: 0, liftoff: 0, turbofan: 3, cold: 1, baseline: 1, hot: 2, optimizing: 2 }

function chart(results, { cpu, cores, node, date }) {
  const rows = results
    .map(({ title, columns: { builtin, ...others } }) => ({
      title,
      builtin,
      bars: Object.entries(others).filter(([, { ratio }]) => ratio),
    }))
    .filter(({ builtin, bars }) => builtin && bars.length > 0)
  const ratios = rows.flatMap(({ bars }) => bars.map(([, { ratio }]) => ratio))
  const low = Math.floor(Math.log2(Math.min(0.5, ...ratios)))
  const high = Math.ceil(Math.log2(Math.max(2, ...ratios)))
  const x = (ratio) => LABELS + (BARS * (Math.log2(ratio) - low)) / (high - low)
  const at = (value) => value.toFixed(1)

  const parts = []
  let y = TOP
  const groups = []
  for (const { title, bars } of rows) {
    const height = bars.length * BAR
    groups.push(`<text x="${LABELS - 14}" y="${y + height / 2 + 4.5}" text-anchor="end">${escape(title)}</text>`)
    bars.forEach(([key, { ratio }], i) => {
      const [from, to] = [Math.min(1, ratio), Math.max(1, ratio)].map(x)
      const top = y + i * BAR
      const width = Math.max(to - from, 1)
      groups.push(
        `<rect class="c${colours[key] ?? 3}" x="${at(from)}" y="${top + 1}" width="${at(width)}" height="${BAR - 2}" rx="2"/>`
      )
      groups.push(`<text class="small" x="${at(Math.max(to, x(1)) + 6)}" y="${top + BAR - 3}">${words(ratio)}</text>`)
    })
    y += height + GAP
  }
  const bottom = y - GAP / 2
  const step = high - low > 8 ? 2 : 1
  for (let power = low; power <= high; power++) {
    if (power !== 0 && power % step !== 0) continue
    const label = power < 0 ? `1/${2 ** -power}` : `${2 ** power}`
    parts.push(
      `<line class="${power === 0 ? 'one' : 'grid'}" x1="${at(x(2 ** power))}" x2="${at(x(2 ** power))}" y1="${TOP - 6}" y2="${at(bottom)}"/>`
    )
    parts.push(`<text class="small" x="${at(x(2 ** power))}" y="${at(bottom + 15)}" text-anchor="middle">${label}</text>`)
  }
  const legend = new Map()
  for (const { bars } of rows) for (const [key, { label }] of bars) legend.set(label, colours[key] ?? 3)
  let left = LABELS
  for (const [label, colour] of legend) {
    parts.push(
      `<rect class="c${colour}" x="${left}" y="44" width="11" height="11" rx="2"/><text class="small" x="${left + 16}" y="53">${escape(label)}</text>`
    )
    left += 34 + label.length * 5.9
  }
  const width = Math.max(WIDTH, Math.ceil(left))
  const height = Math.ceil(bottom + 48)
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">
  <title>Time relative to Node's built-in WebAssembly</title>
  <style>${style}
  </style>
  <text class="title" x="20" y="28">Time relative to Node’s built-in WebAssembly (1 = built-in, left is faster)</text>
  ${[...parts, ...groups].join('\n  ')}
  <text class="small" x="20" y="${height - 10}">${escape(`${cpu}, ${cores} cores, Node ${node}, ${date.slice(0, 10)}; medians, logarithmic axis`)}</text>
</svg>
`
}

module.exports = { chart }
