'use strict'

// What is kept of an object, in the object itself, where there may be a hundred thousand of them: V8's collector looks at every
// entry of a WeakMap whenever it collects.

class Itself {
  constructor(object) {
    return object
  }
}

/** The same as a WeakMap, for objects that are made here and told apart by nothing else. */
const keeping = () =>
  class Kept extends Itself {
    #value

    static get(object) {
      return Kept.#isMarked(object) ? object.#value : undefined
    }

    static has(object) {
      return Kept.get(object) !== undefined
    }

    static set(object, value) {
      const marked = Kept.#isMarked(object) ? object : new Kept(object)
      marked.#value = value
    }

    static delete(object) {
      if (Kept.#isMarked(object)) object.#value = undefined
    }

    static #isMarked(value) {
      return ((typeof value === 'object' && value !== null) || typeof value === 'function') && #value in value
    }
  }

module.exports = { keeping }
