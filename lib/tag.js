'use strict'

// WebAssembly.Tag. A Tag is one of the built-in's too, so that WebAssembly.Exception, which is the built-in's, takes it.
//
// A tag has an id in every group that meets it. That is enough, because an exception goes from group to group as a
// WebAssembly.Exception, which carries the Tag (see ./exception.js).

const { native, builtin, classes } = require('./native.js')
const { LETTERS, NAMES } = require('./signature.js')
const { defineInterface, isObject, requireNew } = require('./webidl.js')

/** Tag -> {signature, home (the group that defined it, or null), ids: group -> id}. */
const states = new WeakMap()

/** Of all Tags that may still be alive. */
const references = new Set()
const collected = new FinalizationRegistry((reference) => references.delete(reference))

function* knownTags() {
  for (const reference of references) {
    const tag = reference.deref()
    if (tag !== undefined) yield tag
  }
}

const isTag = (value) => states.has(value)

const homeGroup = (tag) => states.get(tag).home

const tagParams = (tag) => [...states.get(tag).signature.slice(0, -1)]

function adopt(tag, signature, home) {
  states.set(tag, { signature, home, ids: new WeakMap() })
  const reference = new WeakRef(tag)
  references.add(reference)
  collected.register(tag, reference)
  return tag
}

// V8 up to 11 forgets the prototype that new.target asks for.
const create = (letters, target) =>
  Object.setPrototypeOf(new builtin.Tag({ parameters: [...letters].map(carriedAs) }), target.prototype)

// The built-in accepts its own functions only, and no v128: those travel in the exception as externref.
const carriedAs = (letter) => ('cvx'.includes(letter) ? 'externref' : NAMES.get(letter))

function Tag(descriptor) {
  const where = 'WebAssembly.Tag()'
  requireNew(new.target, 'Tag')
  if (!isObject(descriptor)) throw new TypeError(`${where}: Argument 0 must be a tag type`)
  const { parameters } = descriptor
  if (!isObject(parameters)) throw new TypeError(`${where}: Argument 0 must be a tag type with 'parameters'`)
  let letters = ''
  for (const name of parameters) {
    const letter = LETTERS.get(String(name))
    if (letter === undefined) {
      throw new TypeError(`${where}: Argument 0 parameter type at index #${letters.length} must be a value type`)
    }
    letters += letter
  }
  return adopt(create(letters, new.target), `${letters}:`, null)
}

Object.setPrototypeOf(Tag, builtin.Tag)
Object.setPrototypeOf(Tag.prototype, builtin.Tag.prototype)

defineInterface(Tag, 'WebAssembly.Tag', {})

// What handlers see of a JavaScript value, with or without a name for it.
const JSTag = adopt(builtin.JSTag ?? create('r', Tag), 'r:', null)

/** Import matching of tag types; throws LinkError. */
function matchTag(tag, signature, subject) {
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
    tag = adopt(create(signature.slice(0, -1), Tag), signature, group)
    register(tag, group, id)
  }
  return tag
}

module.exports = { JSTag, Tag, bindTag, homeGroup, isBound, isTag, knownTags, matchTag, tagAt, tagParams }
