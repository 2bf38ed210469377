/** The shapes of single modules, as types.js: this module has no code, and browsers do not fetch it. */

/** @typedef {Uint8Array<ArrayBuffer>} Bytes */

/** @typedef {Record<string, any>} Frame */

/** How what is said travels: two classes with the same methods, for open and for sealed rooms.
 * @typedef {import("./room/open-voice.js").OpenVoice | import("./room/sealed-voice.js").SealedVoice} Voice
 */
/** @typedef {{id: string, body: unknown, to: string | null, at: number}} Outgoing */
/** Something said, ready to be shown. `author` is who said it, as references name them: by card key in a sealed room.
 * @typedef {{author: string, id: string, body: unknown, at: number, epoch: number, replayed: boolean}} Said
 */

/**
 * @typedef {object} Words
 * @property {string} copy  label of the button at a code block
 * @property {(text: string) => void} onCopy
 * @property {string[]} names  that may be mentioned, the longest first
 * @property {number} elements  at most so many, and a few
 * @property {boolean} isCut  the text goes on: a block of code that has no end is not whole, and gets no button
 */

/**
 * @typedef {object} Preferences
 * @property {string} nick  the last one used
 * @property {string} language  "" for the browser's
 * @property {boolean} sound
 * @property {boolean} notify
 * @property {boolean} pictures  fetch and show pictures without being asked
 */

/**
 * Who hears a connection.
 * @typedef {object} ConnectionListener
 * @property {() => void} onOpen  a socket is open: the join may be sent
 * @property {(frame: Record<string, any>, size: number) => void} onFrame
 * @property {(chunk: ArrayBuffer) => void} onChunk
 * @property {(problem: import("./problem.js").Problem, retryAt: number | null) => void} onLost  comes back by itself at `retryAt`, or, if that
 *     is null, when the person does
 * @property {(problem: import("./problem.js").Problem) => void} onOver  the server's last word
 * @property {() => boolean} isAwaiting  whether an answer of the server is due
 */

/**
 * @typedef {object} Identity
 * @property {string} roomId
 * @property {string} session
 * @property {string} nick
 * @property {string} name  the room's
 * @property {number} endsAt  ms since 1970
 * @property {string} link  the present one
 * @property {number} inviteEpoch  the epoch of a sealed room's keys that the link's invite key goes with
 * @property {string} ownerKey  `ro_...` or ""
 * @property {OwnerKey | null} ownerPair
 * @property {UserKey | null} user
 * @property {Bytes | null} passwordKey  the stretched password, not itself
 * @property {{salt: Bytes, owner: Bytes | null, password: boolean, epoch: number} | null} access  of a sealed room, and
 *     the epoch that `link` is of
 * @property {ClockReadings | null} lastSeenAt  when the room was last known to exist
 */

/**
 * @typedef {object} Offer
 * @property {string} fid
 * @property {Bytes | null} key  in a sealed room
 * @property {string} sha256
 * @property {number} size
 * @property {number} chunk  bytes of each chunk but the final one
 * @property {FileState} state
 */

/**
 * @typedef {object} Pending
 * @property {Outgoing} said
 * @property {Record<string, unknown>} more  fields of the frame beside id, body and to
 * @property {Moment | null} sentAt  when it was first written
 * @property {number} epoch  in which it was last sealed
 * @property {(pending: Pending) => void} onSaid
 * @property {(problem: import("./problem.js").Problem) => void} onFailed
 */

/**
 * A file on its way here.
 * @typedef {object} Coming
 * @property {Line} line
 * @property {Offer} offer
 * @property {number} epoch  in which the offer was sealed
 * @property {number} index  of the chunk that comes next
 * @property {number} upto  what was asked for
 * @property {Blob[]} parts  put away: a browser moves large ones to its disk
 * @property {Bytes[]} fresh  not yet
 * @property {import("./wire/sha256.js").Sha256} hash
 * @property {string} pass  of the sender, with the number of its stream
 * @property {import("./seal/files.js").Pass | null} cipher
 * @property {import("./room/serial.js").Serial} serial
 * @property {number} beganAt
 * @property {number} beganWith  bytes
 * @property {number} turnAt  since when it may come
 * @property {number} heardAt  when a chunk of it came last
 * @property {boolean} unasked  nobody has pressed a button for it
 * @property {number} lostAt  since when the sender could not be found; 0 while it can
 */

/**
 * @typedef {object} Own
 * @property {Line} line
 * @property {File} file
 * @property {string} fid
 * @property {Bytes | null} key
 * @property {number} size
 * @property {number} chunk
 * @property {string | null} to
 * @property {number} epoch  in which the offer was sealed
 * @property {boolean} said
 */

/**
 * @typedef {object} Verdict
 * @property {string} fid
 * @property {boolean} ok  whether what came is what was offered
 * @property {number} last  number of the final chunk
 * @property {number} until  when it is given up; 0 where the connection was not lost in between
 */

/**
 * The keys of one room in one epoch.
 * @typedef {object} EpochKeys
 * @property {Bytes} salt
 * @property {number} epoch
 * @property {Bytes} roomKey  K_e: everything sealed in the epoch hangs on it
 * @property {Bytes} proof  A_e: what a joiner sends
 * @property {Bytes} check  C_e: what the server must answer
 * @property {Map<string, Promise<CryptoKey>>} senderKeys  derived so far
 */

/**
 * What a line can be asked for.
 * @typedef {object} Deeds
 * @property {Room} room
 * @property {(key: string) => void} show  scrolls to a line
 * @property {(anchor: Element, user: User) => void} person
 * @property {(key: string, emoji: string, on: boolean) => void} react
 * @property {() => string[]} names  that may be mentioned, the longest first
 */

/**
 * @typedef {object} Chunk
 * @property {boolean} last
 * @property {number} stream
 * @property {string} fid
 * @property {Bytes} pass  16 bytes, drawn by the sender for each stream
 * @property {number} index
 * @property {Bytes} data
 */

/**
 * @typedef {object} Link
 * @property {string} origin
 * @property {string} roomId
 * @property {string} inviteKey
 * @property {boolean} password  a password is needed beside, or instead of, the secret
 * @property {Bytes | null} secret  16 bytes
 */

/**
 * A point in time, in ms, by two clocks: `wall` (Date.now) can be set forwards and backwards, `steady` (performance.now)
 * stops on some devices while they sleep.
 * @typedef {{wall: number, steady: number}} Moment
 */

/** The same moment by two clocks, in ms since 1970.
 * @typedef {{server: number, device: number}} ClockReadings
 */

/** @typedef {Omit<Identity, "user"> & {user: import("./seal/user-key.js").StoredUserKey | null}} StoredIdentity */

/** The pair of one user: the private half cannot leave WebCrypto. `wrapped`: if the browser cannot store the key itself.
 * @typedef {{privateKey: CryptoKey, publicRaw: Bytes, wrapped?: WrappedKey}} UserKey
 */

/** How a sealed room is got into, as the server says.
 * `secret`: the server derived the keys from a password and a link secret, so a link without a secret is incomplete.
 * @typedef {{salt: Bytes, password: boolean, secret?: boolean, epoch: number, owner: Bytes | null, check: Bytes | null}} Access
 */

/** The owner's Ed25519 pair; its private half cannot leave WebCrypto.
 * @typedef {{privateKey: CryptoKey, publicRaw: Bytes}} OwnerKey
 */

/** A private key, encrypted with a non-extractable AES key.
 * @typedef {{key: CryptoKey, iv: Bytes, ciphertext: Bytes}} WrappedKey
 */

/** One place in what a sender seals, used once in a room's life.
 * @typedef {{type: number, sid: Bytes, n: number}} Slot
 */

/** A `message` frame as the server tells it; nothing of it is believed by itself.
 * @typedef {{from: string, id: string, body: unknown, place: number, to: string | null}} Heard
 */

/** @typedef {{by: string, id: string, at: number, body: unknown, epoch: number, replayed: boolean}} Opened */
