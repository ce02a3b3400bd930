'use strict'

/** What the user can do something about: the message is all there is to say. */
class Failure extends Error {
  /**
   * @param {string} message
   * @param {string} code
   */
  constructor(message, code) {
    super(message)
    this.code = code
  }
}

module.exports = { Failure }
