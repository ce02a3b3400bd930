'use strict'

// This package's engine, in this realm. ../process/contexts.js has another one for a context.

module.exports = () => require('../api/drop-in.js')
