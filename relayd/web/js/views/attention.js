/** A sound and a notification while nobody looks. */

import { t } from "../lib/i18n.js";
import { preferences } from "../lib/preferences.js";
import { nameOf } from "../lib/text.js";

const QUIET_MS = 2_000; // between two sounds: a busy room is not an alarm

/** @type {AudioContext | undefined} */
let audio;
let lastSound = 0;

/** Two soft notes, made here: no sound file to fetch. */
function ring() {
  if (Date.now() - lastSound < QUIET_MS) return;
  lastSound = Date.now();
  audio ??= new AudioContext();
  [660, 880].forEach((pitch, index) => {
    if (!audio) return;
    const start = audio.currentTime + index * 0.12;
    const tone = new OscillatorNode(audio, { type: "sine", frequency: pitch });
    const volume = new GainNode(audio, { gain: 0 });
    volume.gain.setValueAtTime(0, start);
    volume.gain.linearRampToValueAtTime(0.08, start + 0.02);
    volume.gain.exponentialRampToValueAtTime(0.0001, start + 0.35);
    tone.connect(volume).connect(audio.destination);
    tone.start(start);
    tone.stop(start + 0.4);
  });
}

/**
 * Something was said while the page is hidden.
 * @param {Room} room
 * @param {Line[]} news
 */
export function attract(room, news) {
  const lines = news.filter((line) => line.kind !== "system");
  const line = lines.at(-1);
  if (!line) return;
  if (preferences.sound) ring();
  if (!preferences.notify || !("Notification" in window) || Notification.permission !== "granted") return;
  // Who, and never what: a system's list of notifications keeps what the room forgets.
  const nick = line.author ? nameOf(line.author.nick) : t("admin");
  try {
    const note = new Notification(room.state.details.name, { body: t("notification", { nick }), tag: room.state.details.id, icon: "/web/icons/icon.svg", silent: true });
    note.onclick = () => {
      window.focus();
      note.close();
    };
  } catch {
    // Chromium on Android notifies through service workers only; there is none here.
  }
}
