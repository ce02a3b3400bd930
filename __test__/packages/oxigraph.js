'use strict'
// oxigraph: wasm-bindgen with reference types, so that JavaScript objects lie in an externref table of
// the module: an RDF store that is filled, queried, updated, and dumped.

const { run } = require('./loop.js')

run(async () => {
  const oxigraph = require('oxigraph')
  const { Store, literal, namedNode, quad, blankNode, defaultGraph } = oxigraph
  const ex = (name) => namedNode(`http://example.com/${name}`)
  const integer = namedNode('http://www.w3.org/2001/XMLSchema#integer')
  const turtle = `
    @prefix ex: <http://example.com/> . @prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
    ex:book1 a ex:Book ; ex:title "Die Wärme"@de , "Warmth"@en ; ex:price "12.50"^^xsd:decimal ; ex:by ex:p3 .
    ex:book2 a ex:Book ; ex:title "Zwei" ; ex:price 7e0 ; ex:by [ ex:name "anonymous" ] ; ex:tags ( "a" "b" 3 ) .
  `
  const text = (term) => `${term.termType} ${term.value}${term.language ? `@${term.language}` : ''}`
  const rows = (bindings) =>
    bindings
      .map((binding) =>
        [...binding]
          .map(([name, term]) => `${name}=${text(term)}`)
          .sort()
          .join(' ')
      )
      .join('\n')

  return async () => {
    const outputs = []
    const quads = []
    for (let i = 0; i < 400; i++) {
      quads.push(quad(ex(`p${i}`), ex('name'), literal(`Person ${(i * 7919) % 400}`, i % 3 ? 'en' : undefined), defaultGraph()))
      quads.push(quad(ex(`p${i}`), ex('age'), literal(String((i * 31) % 90), integer), i % 5 ? defaultGraph() : ex('g')))
      quads.push(quad(ex(`p${i}`), ex('knows'), ex(`p${(i * i + 1) % 400}`)))
    }
    const store = new Store(quads)
    store.load(turtle, { format: 'text/turtle', base_iri: 'http://example.com/', lenient: false })
    outputs.push(
      String(store.size),
      String(store.has(quads[17])),
      store.match(null, ex('age'), null, ex('g')).map(String).sort().join('\n')
    )
    outputs.push(
      rows(
        store.query(`
      PREFIX ex: <http://example.com/>
      SELECT ?name (COUNT(?b) AS ?count) (AVG(?age) AS ?mean) (GROUP_CONCAT(?age; separator="|") AS ?ages) WHERE {
        { SELECT ?a ?name ?b ?age WHERE { ?a ex:knows ?b . ?b ex:age ?age . ?a ex:name ?name } ORDER BY ?a ?b }
      } GROUP BY ?name ORDER BY ?name`)
      )
    )
    outputs.push(
      rows(
        store.query(`
      PREFIX ex: <http://example.com/>
      SELECT ?x ?y (STRLEN(?n) * 1.5 AS ?l) WHERE { ?x ex:knows+ ?y . ?y ex:name ?n . FILTER(REGEX(?n, "^Person [12]?5$")) } ORDER BY ?x ?y LIMIT 300`)
      )
    )
    outputs.push(String(store.query('ASK { ?s <http://example.com/price> ?p FILTER(?p > 10) }')))
    outputs.push(store.query('SELECT * WHERE { ?s a ?t } ORDER BY ?s', { results_format: 'json' }))
    outputs.push(
      store
        .query('CONSTRUCT { ?b <http://example.com/knownBy> ?a } WHERE { ?a <http://example.com/knows> ?b }')
        .map(String)
        .sort()
        .join('\n')
    )
    store.update(
      'PREFIX ex: <http://example.com/> DELETE { ?p ex:age ?a } INSERT { GRAPH ex:new { ?p ex:age ?b } } WHERE { ?p ex:age ?a BIND(?a + 1 AS ?b) }'
    )
    store.add(quad(blankNode('b0'), ex('name'), literal('by hand'), ex('new')))
    store.delete(quads[0])
    outputs.push(
      store
        .dump({ format: 'application/n-quads' })
        .split('\n')
        .filter((line) => !line.includes('_:'))
        .sort()
        .join('\n')
    )
    for (const broken of [
      () => store.query('SELECT * WHERE {'),
      () => store.load('<a> <b> .', { format: 'text/turtle' }),
      () => store.add({ termType: 'Quad', subject: 3 }),
      () => new Store([quads[0], null]),
      () =>
        store.query('SELECT ?x WHERE {}', {
          get use_default_graph_as_union() {
            throw new RangeError('from the getter')
          },
        }),
    ]) {
      try {
        outputs.push(String(broken()))
      } catch (error) {
        outputs.push(`${error.constructor.name}: ${error.message}`)
      }
    }
    store.free()
    return outputs
  }
})
