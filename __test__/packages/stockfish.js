'use strict'
// @lichess-org/stockfish-web, Fairy-Stockfish: Emscripten with pthreads. Each thread is a worker that
// is posted the Module and the shared Memory; the search runs in them, the main thread only sends
// commands. What it prints is the same every time as long as one thread searches.

const { run } = require('./loop.js')

run(
  async () => {
    const { default: Stockfish } = await import('@lichess-org/stockfish-web/fsf_14.js')
    const stockfish = await Stockfish({ listen() {} })

    /** Sends `commands`; resolves with what was printed, up to a line that starts with `last`. */
    const ask = (commands, last) =>
      new Promise((resolve, reject) => {
        const lines = []
        stockfish.onError = (text) => reject(new Error(text))
        stockfish.listen = (line) => {
          // Nothing that tells of time.
          lines.push(line.replace(/ (?:time|nps|hashfull) \d+/g, ''))
          if (line.startsWith(last)) resolve(lines.filter((one) => !one.includes('currmove')).join('\n'))
        }
        for (const command of commands) stockfish.uci(command)
      })

    await ask(['uci'], 'uciok') // with its greeting, which comes once
    const fens = {
      chess: 'r3k2r/p1ppqpb1/bn2pnp1/3PN3/1p2P3/2N2Q1p/PPPBBPPP/R3K2R w KQkq - 0 1',
      crazyhouse: 'r1bqk2r/pppp1ppp/2n2n2/2b1p3/2B1P3/3P1N2/PPP2PPP/RNBQK2R[Pn] w KQkq - 1 5',
      atomic: 'rnbqkbnr/pp1ppppp/8/2p5/4P3/8/PPPP1PPP/RNBQKBNR w KQkq - 0 2',
    }
    // Three threads, each clears a part of the table before; the mate is found by any of them. Once: the engine's own
    // threads do not survive many changes of their number (on the built-in engine neither).
    await ask(
      [
        'setoption name UCI_Variant value chess',
        'setoption name MultiPV value 1',
        'setoption name Threads value 3',
        'setoption name Hash value 16',
        'ucinewgame',
        'isready',
      ],
      'readyok'
    )
    const perft = await ask(['position startpos moves e2e4', 'go perft 3'], 'Nodes searched')
    const mate = (await ask(['position fen 6k1/5ppp/8/8/8/8/5PPP/3R2K1 w - - 0 1', 'go mate 1'], 'bestmove')).split('\n').at(-1)
    await ask(['setoption name Threads value 1', 'setoption name Hash value 8', 'isready'], 'readyok')
    const round = async () => {
      const outputs = [await ask(['uci'], 'uciok')]
      for (const [variant, fen] of Object.entries(fens)) {
        outputs.push(
          await ask(
            ['setoption name Hash value 8', `setoption name UCI_Variant value ${variant}`, 'ucinewgame', 'isready'],
            'readyok'
          )
        )
        outputs.push(await ask([`position fen ${fen}`, 'setoption name MultiPV value 2', 'go depth 7'], 'bestmove'))
      }
      await ask(['setoption name UCI_Variant value chess', 'setoption name MultiPV value 1', 'isready'], 'readyok')
      outputs.push(perft, mate)
      return outputs
    }
    // The first one finds the histories of a search empty; from the second on all are the same.
    await round()
    await round()
    return round
  },
  () => process.exit() // its threads wait for work
)
