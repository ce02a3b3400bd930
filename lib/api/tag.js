'use strict'

// WebAssembly.Tag. A Tag is also a built-in one, so that the built-in WebAssembly.Exception accepts it.
//
// A tag has an id in every group that meets it. That is enough, because an exception goes from group to group as a
// WebAssembly.Exception, which carries the Tag (see ./exception.js).

const { state: front } = require('../front/state.js')
const { shared } = require('../process/copies.js')
const { native, builtin, classes } = require('../process/native.js')
const { LETTERS, NAMES } = require('./signature.js')
const { leaving } = require('./stack.js')
const { isIndex, isObject, observed } = require('./dictionary.js')
const { accepts, defineInterface, inheriting, requireNew } = require('./webidl.js')

const { is } = builtin.Exception.prototype

/** Tag -> {signature, home (the group that defined it, or null), ids: group -> id}. */
const states = shared('tags', () => new WeakMap())

/** Of all Tags that may still be alive. */
const { references, collected } = shared('references to tags', () => {
  const set = new Set()
  return { references: set, collected: new FinalizationRegistry((reference) => set.delete(reference)) }
})

function* knownTags() {
  for (const reference of references) {
    const tag = reference.deref()
    if (tag !== undefined) yield tag
  }
}

/** Makes a tag of the program's, which was made before there were objects of ours, one of ours; not where the built-in carries less. */
function claimTag(tag) {
  const letters = front.tags.get(tag)?.map((name) => LETTERS.get(name))
  if (letters === undefined || !letters.every((letter) => 'iIfdr'.includes(letter))) return false
  adopt(tag, `${letters.join('')}:`, null)
  return true
}

const isTag = (value) => states.has(value) || (isObject(value) && claimTag(value))

const probe = new builtin.Exception(new builtin.Tag({ parameters: [] }), [])

/** Whether the value is a Tag of an instance of the built-in engine: its own brand decides. */
const isBuiltinTag = (value) => !isTag(value) && accepts(is, probe, [value])

const homeGroup = (tag) => states.get(tag).home

const tagParams = (tag) => [...states.get(tag).signature.slice(0, -1)]

function adopt(tag, signature, home) {
  states.set(tag, { signature, home, ids: new WeakMap() })
  const reference = new WeakRef(tag)
  references.add(reference)
  collected.register(tag, reference)
  return tag
}

// The built-in accepts its own functions only, and no v128: those travel in the exception as externref.
const carriedAs = (letter) => ('cvx'.includes(letter) ? 'externref' : NAMES.get(letter))

function Tag(descriptor) {
  try {
    requireNew(new.target, 'Tag')
    // The built-in gets what it would refuse as it is, and everything else in the form it carries.
    let letters = ''
    const parameters = (list) =>
      observed(list, (key, value) => {
        if (!isIndex(key)) return value
        const name = `${value}`
        const letter = LETTERS.get(name)
        letters += letter ?? '?'
        return letter === 'c' ? carriedAs(letter) : name
      })
    const watched = isObject(descriptor)
      ? observed(descriptor, (key, value) => (key === 'parameters' && isObject(value) ? parameters(value) : value))
      : descriptor
    // V8 falls back to Tag.prototype here, and to Object.prototype elsewhere.
    const bare = Object.getPrototypeOf(this) === Object.prototype && !isObject(new.target.prototype)
    const tag = inheriting(new builtin.Tag(watched), bare ? Object.create(Tag.prototype) : this)
    return letters.includes('?') ? tag : adopt(tag, `${letters}:`, null)
  } catch (error) {
    throw leaving(error, Tag) // node-do-not-add-exception-line
  }
}

defineInterface(Tag, 'WebAssembly.Tag', {})

const create = (letters) => Object.setPrototypeOf(new builtin.Tag({ parameters: [...letters].map(carriedAs) }), Tag.prototype)

// What handlers see of a JavaScript value, with or without a name for it.
const JSTag = adopt(builtin.JSTag ?? create('r'), 'r:', null)

/** Import matching of tag types; throws LinkError. */
function matchTag(tag, signature, subject) {
  if (!isTag(tag)) {
    throw new classes.LinkError(
      `${subject}: a tag of the built-in engine cannot be shared with this instance, which is compiled by ` + 'wasm-compile-cache'
    )
  }
  if (states.get(tag).signature === signature) return
  throw new classes.LinkError(`${subject}: imported tag does not match the expected type`)
}

function register(tag, group, id) {
  states.get(tag).ids.set(group, id)
  group.tags.set(id, tag)
}

const isBound = (tag, group) => states.get(tag).ids.has(group)

/** The id of the tag in `group`. */
function bindTag(tag, group) {
  const { signature, ids } = states.get(tag)
  if (!ids.has(group)) register(tag, group, native.tagCreate(group.handle, signature))
  return ids.get(group)
}

/** The Tag of an id of `group`. */
function tagAt(group, id) {
  let tag = group.tags.get(id)
  if (tag === undefined) {
    const signature = native.tagSignature(group.handle, id)
    tag = adopt(create(signature.slice(0, -1)), signature, group)
    register(tag, group, id)
  }
  return tag
}

module.exports = { JSTag, Tag, bindTag, homeGroup, isBound, isBuiltinTag, isTag, knownTags, matchTag, tagAt, tagParams }
