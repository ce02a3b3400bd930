'use strict'
// yoga-layout: Emscripten with embind, the module embedded as base64. Flex layouts of a few thousand
// nodes, text measured by a JavaScript function that WebAssembly calls.

const { run } = require('./loop.js')

run(async () => {
  const {
    default: Yoga,
    Align,
    Direction,
    Edge,
    FlexDirection,
    Gutter,
    Justify,
    MeasureMode,
    PositionType,
    Wrap,
  } = await import('yoga-layout')

  function* random(seed) {
    for (;;) yield (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) >>> 8
  }

  function grow(node, depth, numbers, config) {
    const next = (below) => numbers.next().value % below
    node.setFlexDirection([FlexDirection.Row, FlexDirection.Column, FlexDirection.RowReverse][next(3)])
    node.setFlexWrap(next(2) ? Wrap.Wrap : Wrap.NoWrap)
    node.setJustifyContent([Justify.FlexStart, Justify.Center, Justify.SpaceBetween, Justify.SpaceEvenly][next(4)])
    node.setAlignItems([Align.Stretch, Align.Center, Align.FlexEnd, Align.Baseline][next(4)])
    node.setGap(Gutter.All, next(5))
    node.setPadding(Edge.Horizontal, next(80) / 10)
    node.setMargin(Edge.Top, next(3) ? next(90) / 8 : 'auto')
    node.setBorder(Edge.Left, next(4) / 2)
    node.setFlexGrow(next(3))
    node.setFlexShrink(next(2))
    if (next(4) === 0) node.setMinWidth(`${next(40)}%`)
    if (next(7) === 0) {
      node.setPositionType(PositionType.Absolute)
      node.setPosition(Edge.Left, `${next(50)}%`)
      node.setAspectRatio(1 + next(20) / 7)
    }
    if (depth === 0) {
      const text = 6 + next(60)
      node.setMeasureFunc((width, widthMode, height) => {
        const columns = widthMode === MeasureMode.Undefined ? text : Math.max(1, Math.floor(width / 6.5))
        return {
          width: Math.min(text, columns) * 6.5,
          height: Math.min(Math.ceil(text / columns) * 12.25, Number.isNaN(height) ? Infinity : height),
        }
      })
      return
    }
    const children = 2 + next(5)
    for (let i = 0; i < children; i++) {
      const child = Yoga.Node.create(config)
      grow(child, depth - 1, numbers, config)
      node.insertChild(child, i)
    }
  }

  const layoutOf = (node) => [
    ...Object.values(node.getComputedLayout()),
    node.getComputedPadding(Edge.Left),
    ...Array.from({ length: node.getChildCount() }, (_, i) => layoutOf(node.getChild(i))),
  ]

  return async () => {
    const outputs = []
    const config = Yoga.Config.create()
    config.setPointScaleFactor(2)
    for (const [seed, width, direction] of [
      [1, 800, Direction.LTR],
      [7, 333.3, Direction.RTL],
      [99, undefined, Direction.LTR],
    ]) {
      const root = Yoga.Node.create(config)
      grow(root, 5, random(seed), config)
      root.calculateLayout(width, undefined, direction)
      outputs.push(JSON.stringify(layoutOf(root)))
      root.getChild(0).setWidth('37.5%')
      root.calculateLayout(width, 600, direction)
      outputs.push(JSON.stringify(layoutOf(root)))
      try {
        root.insertChild(root.getChild(0), 0) // it has a parent
      } catch (error) {
        outputs.push(`${error.name}: ${error.message}`)
      }
      root.freeRecursive()
    }
    config.free()
    return outputs
  }
})
