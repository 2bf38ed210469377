/** What can go wrong with something heard, by what is done about it. No text repeats what came. */

/** It cannot be opened or believed: to be shown as exactly that. */
export class NotOpened extends Error {}

/** Its sender's card has not come yet; nothing was taken note of: try again when it has. */
export class UnknownSender extends NotOpened {}

/** Not to be shown at all: a replay, an echo of what was not sent, something said before. */
export class Dropped extends Error {}
