'use strict'
// Images, built of Dockerfiles by buildah, and programs in them: with a root that is read-only, for a user without a name. What
// a registry would have is made of Debian's packages and of the Node that runs this. What installs it all: scripts/prepare.js.

const { execFileSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')

const { run } = require('../../scripts/run.js')

const IMAGES = path.join(__dirname, '../servers/images')
const BUILDAH = path.join(IMAGES, 'tools/usr/bin/buildah')
const MISSING = 'Images are built by root, with util-linux and with buildah, which npm test unpacks from Debian.'

/** The root of $0 becomes that of a program: its folder, user and group come first. */
const START = `
folder=$1 user=$2 group=$3
shift 3
mount --bind "$0" "$0"
mount -o remount,bind,ro "$0"
mount -t tmpfs none "$0/tmp"
mount --bind /dev "$0/dev"
mount -t proc none "$0/proc"
exec unshare --root="$0" --wd="$folder" --setgid="$group" --setuid="$user" -- "$@"`

/** Nothing of this process's environment: `run` adds to that. */
const nothing = Object.fromEntries(Object.keys(process.env).map((name) => [name, undefined]))

async function succeed(command, args, options) {
  const result = await run(command, command, args, { log() {}, ...options })
  if (!result.ok) throw new Error(`${command} ${args.join(' ')}: ${result.why}\n${result.output}\n${MISSING}`)
  return result
}

/** What images of Node have: its binary, npm, a shell if `hasShell`, and the libraries below them. */
function system(root, hasShell) {
  fs.cpSync(path.join(IMAGES, 'system'), root, { recursive: true, verbatimSymlinks: true })
  const bin = path.join(root, 'usr/bin')
  for (const name of ['dev', 'etc', 'proc', 'tmp', 'usr/bin']) fs.mkdirSync(path.join(root, name), { recursive: true })
  fs.copyFileSync(process.execPath, path.join(bin, 'node'))
  if (!hasShell) {
    fs.rmSync(path.join(root, 'bin'), { recursive: true })
    return
  }
  for (const name of ['sh', 'mkdir', 'chown']) fs.symlinkSync('busybox', path.join(root, 'bin', name))
  fs.symlinkSync('../../bin/busybox', path.join(bin, 'env'))
  const modules = execFileSync('npm', ['root', '--global'], { encoding: 'utf8' }).trim()
  fs.cpSync(path.join(modules, 'npm'), path.join(root, 'usr/lib/node_modules/npm'), { recursive: true })
  fs.symlinkSync('../lib/node_modules/npm/bin/npx-cli.js', path.join(bin, 'npx'))
}

/**
 * A place for images, with those that Dockerfiles begin with.
 *
 * @param {string} at a folder for all of them
 * @param {{[name: string]: {hasShell: boolean, entrypoint?: string[], user?: string}}} bases
 * @returns {Promise<{build: Function, start: Function}>}
 */
async function images(at, bases) {
  const policy = path.join(at, 'policy.json')
  fs.writeFileSync(policy, JSON.stringify({ default: [{ type: 'insecureAcceptAnything' }] }))
  const registries = path.join(IMAGES, 'tools/etc/containers/registries.conf')
  const places = ['--root', path.join(at, 'store'), '--runroot', path.join(at, 'run'), '--storage-driver', 'vfs']
  const buildah = async (command, ...args) =>
    (await succeed(BUILDAH, [...places, '--registries-conf', registries, command, ...args])).stdout.trim()

  for (const [name, { hasShell, entrypoint = [], user = '0:0' }] of Object.entries(bases)) {
    const root = path.join(at, 'system')
    system(root, hasShell)
    const container = await buildah('from', '--signature-policy', policy, 'scratch')
    await buildah('copy', '--quiet', container, root, '/')
    const configuration = ['--entrypoint', JSON.stringify(entrypoint), '--env', 'PATH=/usr/bin:/bin', '--user', user]
    await buildah('config', ...configuration, container)
    await buildah('commit', '--quiet', '--rm', '--signature-policy', policy, container, name)
    fs.rmSync(root, { recursive: true })
  }

  return {
    /** @returns {Promise<object>} what the image says of itself, and its `root` */
    async build(context, dockerfile) {
      const file = path.join(at, 'Dockerfile')
      fs.writeFileSync(file, dockerfile)
      const how = ['--isolation', 'chroot', '--pull-never', '--signature-policy', policy]
      await buildah('build', ...how, '--tag', 'built', '--file', file, context)
      const container = await buildah('from', '--pull-never', '--signature-policy', policy, 'built')
      const { config } = JSON.parse(await buildah('inspect', '--type', 'image', 'built')).OCIv1
      return { config, root: await buildah('mount', container) }
    },

    /** `docker run --read-only --tmpfs /tmp`; what it writes. */
    start({ config, root }, env = {}) {
      const { Entrypoint = [], Cmd = [], Env = [], User, WorkingDir } = config
      const command = [
        '--mount',
        '--pid',
        '--fork',
        'sh',
        '-ec',
        START,
        root,
        WorkingDir,
        ...User.split(':'),
        ...Entrypoint,
        ...Cmd,
      ]
      const ofImage = Object.fromEntries(Env.map((one) => [one.slice(0, one.indexOf('=')), one.slice(one.indexOf('=') + 1)]))
      return succeed('unshare', command, { env: { ...nothing, ...ofImage, ...env } })
    },
  }
}

module.exports = { images }
