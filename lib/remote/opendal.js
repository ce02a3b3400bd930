'use strict'

// The process that Apache OpenDAL runs in: what it has begun cannot be stopped, and ends a thread of Node's that goes meanwhile
// together with the process (napi-rs reports to threads that are gone).
//
//   node dist/remote-opendal.js <file of OpenDAL> <scheme> <options in JSON>
//
// Requests come on stdin and answers go to stdout, as ./frames.js has them. The first frame says what the service can do. It ends
// with its stdin.

const { frames, write } = require('./frames.js')

/** The last words of OpenDAL's messages say what happened; before them are headers and addresses. */
function worded({ message }) {
  const [kind] = message.split(' ', 1)
  const end = message.lastIndexOf(' => ')
  const said = (end === -1 ? message : message.slice(end + 4)).split('\n')[0].slice(0, 200)
  return { kind, message: `${kind}: ${said}` }
}

function load(file) {
  // The loader of every addon of napi-rs's takes this variable to be about its own addon.
  delete process.env.NAPI_RS_NATIVE_LIBRARY_PATH
  try {
    return require(file)
  } catch (error) {
    // npm is what the loader blames, whatever the cause.
    const causes = [error.cause].flat().filter((cause) => cause instanceof Error && !cause.message.startsWith('Cannot find module'))
    throw new Error(`The package "opendal" cannot be loaded: ${causes[0]?.message ?? error.message}`, { cause: error })
  }
}

/** What a request may ask for. */
const ACTIONS = {
  async read(operator, { name, largest }) {
    const { contentLength: size } = await operator.stat(name)
    if (size > largest) throw new Error(`TooLarge at read => it has ${size} bytes, more than the ${largest} that are read`)
    // No more than that, whatever is there by now.
    return { bytes: await operator.read(name, { offset: 0n, size }) }
  },
  exists: async (operator, { name }) => ({ found: await operator.exists(name) }),
  remove: async (operator, { name }) => ({ found: (await operator.delete(name)) === undefined }),
  list: async (operator, { name }) => ({ names: (await operator.list(`${name}/`)).map((entry) => entry.path()) }),
  async write(operator, { name, exclusive }, bytes) {
    await operator.write(name, bytes, exclusive ? { ifNotExists: true } : undefined)
    return { found: true }
  },
}

async function serve([file, scheme, options]) {
  let operator
  try {
    const { Operator } = load(file)
    operator = new Operator(scheme, JSON.parse(options))
    const { writeWithIfNotExists: isExclusive, list } = operator.capability()
    write(process.stdout, { isExclusive, list })
  } catch (error) {
    write(process.stdout, { error: error.cause === undefined ? worded(error).message : error.message })
    return
  }
  for await (const { id, action, bytes: body, ...request } of frames(process.stdin)) {
    ACTIONS[action](operator, request, body).then(
      ({ bytes, ...answer }) => write(process.stdout, { id, ...answer }, bytes),
      (error) => write(process.stdout, { id, error: worded(error) })
    )
  }
  // Whatever is still being done is nobody's.
  process.kill(process.pid, 'SIGKILL')
}

serve(process.argv.slice(2))
