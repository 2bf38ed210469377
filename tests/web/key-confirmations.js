/**
 * Recomputes the vectors of key confirmations with the page's own modules, in Node or in a browser.
 *
 * @param {any} vectors  key-confirmation-vectors.json
 * @param {any} monitor  key-monitor-vectors.json
 * @param {(path: string) => Promise<any>} load  imports a module of relayd/web/js
 * @returns {Promise<{checked: number, wrong: string[]}>}
 */
export default async function check(vectors, monitor, load) {
  const [bytes, bodies, confirmation, rules] = await Promise.all(
    ["wire/bytes.js", "seal/bodies.js", "seal/confirmation.js", "room/key-monitor.js"].map(load),
  );
  const { decodeBase64url: decode, encodeBase64url: encode, toHex } = bytes;
  const fromHex = (text) => Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
  const wrong = [];
  let checked = 0;
  const equal = (what, got, wanted) => {
    checked += 1;
    if (JSON.stringify(got) !== JSON.stringify(wanted)) wrong.push(`${what}: ${JSON.stringify(got)} is not ${JSON.stringify(wanted)}`);
  };
  const refused = async (what, job) => {
    checked += 1;
    await job().then(() => wrong.push(`${what}: was not refused`), () => {});
  };
  const keysOf = (epoch, key) => ({ salt: decode(vectors.salt), epoch, roomKey: fromHex(key), senderKeys: new Map() });
  const [sid, owner] = [decode(vectors.sid), decode(vectors.owner_public)];
  const jwk = { kty: "OKP", crv: "Ed25519", d: encode(fromHex(vectors.owner_private)), x: vectors.owner_public };
  const privateKey = await crypto.subtle.importKey("jwk", jwk, "Ed25519", false, ["sign"]);

  for (const { case: name, K, epoch, n, t, signed_hex: signed, signature, plaintext_json: text, body } of vectors.good) {
    const [keys, slot] = [keysOf(epoch, K), { type: bodies.SIGNAL, sid, n }];
    const toSign = confirmation.confirmationText(keys, slot, t);
    equal(`${name} text`, toHex(toSign), signed);
    equal(`${name} signature`, encode(new Uint8Array(await crypto.subtle.sign("Ed25519", privateKey, toSign))), signature);
    equal(`${name} sealed`, encode(await bodies.sealAt(keys, slot, new TextEncoder().encode(text))), body.c);
    const opened = bodies.decodeJson(await bodies.openAt(keys, slot, bodies.readSealed(body).ciphertext));
    equal(`${name} kind`, opened.kind, confirmation.KEY_CONFIRMATION);
    equal(`${name} read`, await confirmation.readConfirmation(owner, keys, slot, opened.data), t);
  }
  for (const { why, epoch, sid: other, n, t, sig, owner: by } of vectors.bad) {
    const slot = { type: bodies.SIGNAL, sid: decode(other), n };
    await refused(why, () => confirmation.readConfirmation(decode(by), keysOf(epoch, ""), slot, { t, sig }));
  }
  const slot = { type: bodies.SIGNAL, sid, n: 0 };
  for (const data of [null, undefined, [], "x", 5, {}, { t: 0 }, { t: true, sig: vectors.good[0].signature }]) {
    await refused(JSON.stringify(data), () => confirmation.readConfirmation(owner, keysOf(0, ""), slot, data));
  }

  for (const { case: name, start, steps } of monitor) {
    const one = new rules.KeyMonitor(start);
    for (const [at, step] of steps.entries()) {
      const what = `${name}, step ${at}`;
      if (step.confirm) equal(what, one.onConfirmation(...step.confirm), step.found);
      else if (step.check) equal(what, one.check(...step.check), step.found);
      else one.onEpoch();
    }
  }
  return { checked, wrong };
}
