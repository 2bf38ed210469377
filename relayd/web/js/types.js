/**
 * The shapes that modules share, for the checker and for readers: this file has no code, and browsers do not fetch it.
 * It exports nothing, so tsc knows its names, and those of module-types.js, in every module.
 *
 * Two calls of `room/open.js` lead into a room, both answer a `Room` that has joined, or reject with a `Problem`:
 * `createRoom(NewRoom)` and `openRoom(Entry)`. `lookAt(link)` tells before that what is behind a link.
 *
 * All texts in here come from other people or from a server: they are shown as text, never as HTML.
 */

/**
 * What a person must know, and what `code` tells a view to offer. Codes are those of docs/protocol.md ("Errors"), and
 * of the page's own:
 *   `no_webcrypto`      the page was loaded over plain http: nothing can be sealed
 *   `link_wrong`        not a link of a relay
 *   `link_elsewhere`    a good link of another server: its page has to be opened
 *   `link_incomplete`   what follows # is missing or cut off
 *   `unknown_suite`     a link made by a newer program
 *   `old_browser`       its WebCrypto lacks X25519 or Ed25519
 *   `internal`          a mistake of the page's own
 *   `password_needed`, `wrong_password`, `password_unfit` (empty or too long)
 *   `wrong_secret`      link and room do not fit: an old link after somebody was thrown out, or a mistaken server
 *   `downgrade`         the server shows less than the link promises: nothing was sent
 *   `server_away`       no answer; `offline`: the device says it has no network
 *   `server_wrong`      an answer that is none of a relay
 *   `unconfirmed`       a message that may have been said or not
 *   `too_long`          more than fits a frame
 *   `not_connected`     an owner's command without a connection
 *   `no_card`           nothing can be sealed to somebody whose card has not come
 *   `cannot_rekey`      this device does not hold the key that makes new ones
 *   `rekey_refused`     the server told of new keys that the owner did not make
 *   `file_changed`, `file_broken`, `file_gone`, `storage_full`
 * @typedef {object} ProblemShape
 * @property {string} code
 * @property {string} detail  English; for logs and for codes a view does not know
 * @property {number} [retryAfterMs]
 */

/**
 * @typedef {object} NewRoom
 * @property {string} nick
 * @property {string} [name]  of the room; without one the server makes one up
 * @property {number} [max]
 * @property {number | "usersLeave"} [expires]  hours
 * @property {string} [password]  only where `sealed`
 * @property {boolean} [sealed]  default true
 * @property {string} [createKey]  for servers that let nobody create rooms without one
 */

/**
 * @typedef {object} Entry
 * @property {string} link  all of it, with what follows #
 * @property {string} nick
 * @property {string} [password]
 * @property {() => void} [onWaiting]  somebody inside has to let this user in; the room comes when that is done
 */

/**
 * What `lookAt(link)` finds, before anything is joined.
 * @typedef {object} Door
 * @property {string} id
 * @property {string} name
 * @property {boolean} sealed
 * @property {boolean} passwordNeeded  a password has to be asked for. False for a protected room whose keys are on this
 *     device from before: one is simply in again
 * @property {boolean} locked
 * @property {number} users
 * @property {number} max
 * @property {number} endsAt  ms since 1970, at the latest
 * @property {{nick: string, owner: boolean} | null} known  who this device was in that room; then `openRoom` makes one
 *     that person again, and a view need not ask for a nick
 */

/**
 * `connecting` only before the first join; `away`: the connection is lost, comes back by itself at `retryAt`;
 * `over`: for good, `problem` says why (`left`, `kicked`, `room_closed` with `closedBecause`, `no_such_room`, ...).
 * `idle` and `too_many_connections` are `away` with `retryAt` null: it comes back when the person does (`retry()`).
 * @typedef {"connecting" | "joined" | "away" | "over"} Phase
 */

/**
 * @typedef {object} User
 * @property {string} id
 * @property {string} nick  at most 64 characters, no control or bidi characters; "" if not known
 * @property {string} tag  four characters that tell two of one nick apart
 * @property {Role} role
 * @property {boolean} away
 * @property {boolean} muted
 * @property {boolean} me
 * @property {number} hue  0..359, drawn from key or id: the same in every tab and on every device
 * @property {string} key  card key (base64url) in a sealed room, once it has come; else ""
 */

/** A moderator may do what keeps order: remove, mute and ban members, remove messages, lock the room.
 * @typedef {"owner" | "moderator" | "member"} Role
 */

/**
 * One line of the chat. Which fields mean something depends on `kind`.
 * @typedef {object} Line
 * @property {"text" | "file" | "unknown" | "unreadable" | "system"} kind  `unknown`: a body this page cannot show;
 *     `unreadable`: something came that could not be opened or believed (`reason`)
 * @property {string} key  unique in this room and tab, never changes
 * @property {number} at  ms since 1970
 * @property {User | null} author  as known when it was said; null for system lines and the server's admin
 * @property {boolean} mine
 * @property {"sent" | "pending" | "failed"} status
 * @property {ProblemShape | null} problem  of a failed one
 * @property {string} text
 * @property {string | null} to  user id of the one person who hears it; null: all
 * @property {User | null} toUser
 * @property {string | null} replyTo  key of the line it answers; null if none or not known
 * @property {boolean} replyLost  it answers something that was not heard here
 * @property {Reaction[]} reactions
 * @property {boolean} edited
 * @property {boolean} deleted  `text` is "" then
 * @property {boolean} removed  deleted by the owner or a moderator
 * @property {boolean} mentionsMe
 * @property {boolean} replayed  sealed long before this page joined: somebody plays back what was said to others
 * @property {boolean} unread
 * @property {number | null} seq
 * @property {string} reason  of an unreadable one: English
 * @property {FileState | null} file
 * @property {SystemEvent | null} system
 */

/**
 * @typedef {object} Reaction
 * @property {string} emoji
 * @property {string[]} users  user ids, or card keys of those who are gone
 * @property {string[]} nicks
 * @property {boolean} mine
 */

/**
 * What happened, for a line between messages. Comings and goings in a row are one line whose `nicks` grow.
 * @typedef {object} SystemEvent
 * @property {"joined" | "left" | "renamed" | "muted" | "unmuted" | "promoted" | "demoted" | "updated" | "missed" | "rekeyed" | "rekey_refused" |
 *     "users_unconfirmed" | "owner_unconfirmed" | "keys_confirmed" | "keys_missed" | "expiring" | "announcement" |
 *     "restarting" | "closed"} event
 * @property {string[]} nicks  joined, left, users_unconfirmed: who, at most 50; renamed: before and after; muted,
 *     unmuted, promoted, demoted: one
 * @property {number} count  joined, left, users_unconfirmed: how many; missed: messages lost for good, 0 if nobody can
 *     say; owner_unconfirmed: minutes; expiring: seconds
 * @property {string} text  announcement: what the server's admin says
 * @property {string[]} what  updated: any of `name`, `max`, `expiration`, `locked`, `settings`
 * @property {boolean} me  it is about oneself
 */

/**
 * `offered`: may be accepted · `waiting`: accepted, nothing came yet · `receiving` · `paused`: the sender is away ·
 * `done`: all of it is here and right, `url` is set · `failed`, `cancelled`: may be accepted again (from where it
 * stopped) · `ended`: withdrawn or its sender gone · `hashing`: own, before it is offered · `serving`: own, as long as
 * this page is open.
 * @typedef {"offered" | "waiting" | "receiving" | "paused" | "done" | "failed" | "cancelled" | "ended" | "hashing" |
 *     "serving"} FilePhase
 */

/**
 * @typedef {object} FileState
 * @property {string} fid
 * @property {string} name  no path, no control or bidi characters, at most 255 characters
 * @property {number} size  bytes
 * @property {string} type  the media type its sender names: believe nothing
 * @property {boolean} image  of a type that is shown inline (png, jpeg, gif, webp, avif) and small enough
 * @property {FilePhase} phase
 * @property {number} bytes  here, or hashed
 * @property {number} rate  bytes a second, 0 if not known
 * @property {string} url  blob: of the whole file; "" until it is there. For images and for `<a download>`; everything
 *     but the image types above is `application/octet-stream`, so that it never opens as a page of this site
 * @property {ProblemShape | null} problem
 * @property {{user: User, state: "receiving" | "received" | "broken" | "cancelled"}[]} receivers  of an own file
 */

/**
 * The room as the server describes it; docs/protocol.md has the meanings.
 * @typedef {object} Details
 * @property {string} id
 * @property {string} name  at most 64 characters, as nicks; never empty
 * @property {string} owner_id
 * @property {number} max
 * @property {string} date
 * @property {string} expiration
 * @property {string} expiration_date
 * @property {boolean} protected
 * @property {boolean} locked
 * @property {{files: boolean, max_file: number, resume: number, slow: number, lobby: boolean}} settings  `max_file` 0: no limit is known;
 *     `slow`: seconds between two messages of a member, 0 for none
 */

/**
 * Plain data, the same object as long as the room; read it, never change it.
 * @typedef {object} RoomState
 * @property {Phase} phase
 * @property {ProblemShape | null} problem  why `away` or `over`
 * @property {string} closedBecause  of `room_closed`: `terminated`, `expired`, `empty`, `shutdown`; else ""
 * @property {number | null} retryAt  ms since 1970 of the next try
 * @property {string} me  own user id
 * @property {Role} role  own
 * @property {boolean} muted  oneself: the composer is shut
 * @property {boolean} remembered  this user is stored in the browser: after a reload it is the same user
 * @property {Map<string, User>} users  in the order they came; at least the first 200, more as pages come
 * @property {User[]} knocking  who waits to be let in; only the owner and moderators are told
 * @property {number} userCount  as the server says
 * @property {Line[]} lines  in order, pending ones last; at most 10,000, the oldest go first
 * @property {Details} details
 * @property {number} endsAt  ms since 1970 by this device's clock, at the latest
 * @property {boolean} usersLeave  it ends when everyone has left, too
 * @property {boolean} sealed
 * @property {boolean} canRekey  kicking makes new keys (and a new link)
 * @property {Set<string>} unconfirmed  ids of users who have not shown a card that is sealed with the room's new keys
 * @property {string} link  the present one, to be shared: changes with `link`. A secret
 * @property {boolean} linkIsOld  nobody comes in by it: its invite key was replaced, and this device was not told by what
 * @property {string[]} typing  user ids
 * @property {Map<string, number>} reads  user id -> seq seen; shown at the last line with `seq` up to that
 * @property {number} unread  lines of others since `read()` was last called
 */

/**
 * What has changed since the last call.
 * @typedef {object} Changes
 * @property {Set<"phase" | "me" | "users" | "details" | "link" | "typing" | "reads" | "unread" | "knocking">} kinds
 * @property {{key: string, before: string | null}[]} placed  lines that are new or moved, the LAST first: for each in
 *     turn `list.insertBefore(nodeOf(key), before === null ? null : nodeOf(before))`
 * @property {Set<string>} changed  keys of lines to be drawn anew (new ones are not in it)
 * @property {string[]} removed  keys of lines that are gone
 * @property {Line[]} news  lines others said just now, for sound, notification and the live region
 */

/**
 * One of the room's invites; its key is known to whoever made it alone.
 * @typedef {object} Invitation
 * @property {string} id
 * @property {string} label
 * @property {number | null} uses  newcomers that it may let in; null: any number
 * @property {number | null} usesLeft
 * @property {number | null} expiresAt  ms since 1970 by this device's clock; null: with the room
 */

/**
 * What only the owner and moderators may do; the server refuses it to others.
 * @typedef {object} Moderation
 * @property {(userId: string, ban: boolean) => Promise<unknown>} kick
 * @property {(userId: string, on: boolean) => Promise<unknown>} mute
 * @property {(userId: string, on: boolean) => Promise<unknown>} promote  to a moderator, or back to a member
 * @property {(line: Line) => Promise<unknown>} removeMessage
 * @property {(userId: string, on: boolean) => Promise<unknown>} admit  one of `knocking`, or turn them away
 * @property {(changes: {name?: string, max?: number, locked?: boolean, expiration_date?: number | "usersLeave",
 *     settings?: Partial<Details["settings"]>}) => Promise<unknown>} edit  `expiration_date` in hours since creation
 * @property {() => Promise<Invitation[]>} invites
 * @property {(limits: {uses: number | null, expires: number | null, label: string}) => Promise<string>} createInvite
 *     `expires`: seconds from now. Returns the link
 * @property {(id: string) => Promise<unknown>} revokeInvite
 * @property {() => Promise<void>} renewInvite  the new link is `state.link`
 * @property {(hours: number) => Promise<unknown>} extend  so many hours from now, at most 24 h after creation
 * @property {() => Promise<unknown>} close  ends the room
 */

/**
 * What `createRoom` and `openRoom` give. Owner's work returns promises that reject with a `Problem`; everything that is
 * said goes through an outbox that sends again by itself, and shows as `status` of its line.
 * @typedef {object} Room
 * @property {RoomState} state
 * @property {(listener: (changes: Changes) => void) => () => void} subscribe  called at most once a frame; returns what
 *     ends it
 * @property {(key: string) => Line | undefined} line
 * @property {(text: string, more?: {replyTo?: string, to?: string}) => string} say  `replyTo` a line's key, `to` a user
 *     id; returns the key of the new line. Throws `Problem` `too_long`, `muted`, `no_card` (nothing was sent)
 * @property {(key: string, emoji: string, on: boolean) => Promise<void>} react  shown when it is said; rejects
 *     with a `Problem` if it never was, like the next two
 * @property {(key: string, text: string) => Promise<void>} edit  own texts only
 * @property {(key: string) => Promise<void>} remove  own lines only
 * @property {(key: string) => void} resend  a failed one, as a new message
 * @property {(key: string) => void} discard  a failed one
 * @property {(on: boolean) => void} typing  at every key; it is told once in three seconds at most
 * @property {() => void} read  everything is seen: when the end of the list is visible
 * @property {(nick: string) => void} setNick
 * @property {(file: File, more?: {to?: string}) => string} offerFile  returns the key of its line. Throws `files_off`,
 *     `file_too_large`
 * @property {(key: string, unasked?: boolean) => void} accept  a file; also again after `failed` and `cancelled`.
 *     `unasked`: nobody has pressed a button for it; at most two of four places are for such
 * @property {(key: string) => void} cancel  receiving, or withdraw an own one
 * @property {Moderation} moderation  what the owner and moderators do
 * @property {() => void} leave  gives the place up, in all tabs, and forgets the room on this device
 * @property {() => void} retry  now, instead of at `retryAt`
 * @property {() => Promise<string[]>} safetyCode  six words; sealed rooms only
 * @property {(userId: string) => Promise<string[]>} personCode
 * @property {() => void} close  the page lets go of the room, without leaving it
 */
