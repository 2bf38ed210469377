/**
 * Recomputes sealing-vectors.json with the page's own modules, in Node or in a browser.
 *
 * @param {any} vectors
 * @param {(path: string) => Promise<any>} load  imports a module of relayd/web/js
 * @returns {Promise<{checked: number, wrong: string[]}>}
 */
export default async function check(vectors, load) {
  const [bytes, derive, bodies, hpke, keysModule, codes, rekey, files, link, openerModule, sealerModule] =
    await Promise.all(
      ["wire/bytes.js", "seal/derive.js", "seal/bodies.js", "seal/hpke.js", "seal/keys.js", "seal/codes.js",
        "seal/rekey.js", "seal/files.js", "wire/link.js", "seal/opener.js", "seal/sealer.js"].map(load),
    );
  const { decodeBase64url: decode, encodeBase64url: encode, toHex } = bytes;
  const fromHex = (text) => Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
  const wrong = [];
  let checked = 0;
  const equal = (what, got, wanted) => {
    checked += 1;
    if (JSON.stringify(got) !== JSON.stringify(wanted)) wrong.push(`${what}: ${got} is not ${wanted}`);
  };
  const refused = async (what, job) => {
    checked += 1;
    try {
      await job();
    } catch {
      return;
    }
    wrong.push(`${what}: was not refused`);
  };
  const keyPair = async (privateHex, publicText) => {
    const jwk = { kty: "OKP", crv: "X25519", d: encode(fromHex(privateHex)), x: publicText };
    const privateKey = await crypto.subtle.importKey("jwk", jwk, "X25519", false, ["deriveBits"]);
    return { privateKey, publicRaw: decode(publicText, 32) };
  };
  const slotOf = (sealed) => ({ type: sealed.type, sid: decode(sealed.body.s, 16), n: sealed.body.n });
  const openBody = (keys, type, body) => {
    const { sid, n, ciphertext } = bodies.readSealed(body);
    return bodies.openAt(keys, { type, sid, n }, ciphertext);
  };

  for (const room of vectors.rooms) {
    const salt = decode(room.salt, 16);
    const secret = room.link_secret && decode(room.link_secret, 16);
    const password = room.password === null ? null : await derive.derivePasswordKey(room.password, salt);
    if (password) equal(`${room.case} P`, toHex(password), room.P);
    const keys = await derive.deriveEpoch(salt, room.epoch, password, secret);
    equal(`${room.case} K`, toHex(keys.roomKey), room.K);
    equal(`${room.case} proof`, encode(keys.proof), room.proof);
    equal(`${room.case} verifier`, await derive.verifierOf(keys), room.verifier);
    equal(`${room.case} check`, encode(keys.check), room.check);
    equal(`${room.case} code`, toHex(await codes.roomCode(keys)), room.safety_code);
    for (const sealed of room.sealed) {
      const text = new TextEncoder().encode(sealed.plaintext_json);
      const ciphertext = await bodies.sealAt(keys, slotOf(sealed), text);
      // Some are padded further than pad() does: those are for the opening only.
      if (toHex(bodies.pad(text)) === sealed.padded_hex) equal("sealed", encode(ciphertext), sealed.body.c);
      const opened = await openBody(keys, sealed.type, sealed.body);
      equal(`${room.case} opened`, bytes.fromUtf8(opened), sealed.plaintext_json);
    }
    for (const file of [room.file, room.empty_file]) {
      const offer = { key: decode(file.key, 32), fid: decode(file.file_id, 16), epoch: room.epoch, salt };
      const pass = await files.Pass.begin(offer, decode(file.pass, 16));
      for (const chunk of file.chunks) {
        const [data, last] = [fromHex(chunk.plaintext_hex), chunk.last === 1];
        equal("chunk", encode(await pass.seal(chunk.index, last, data)), chunk.ciphertext);
        equal("chunk opened", [...(await pass.open(chunk.index, last, decode(chunk.ciphertext)))], [...data]);
        equal("not as another", await pass.open(chunk.index, !last, decode(chunk.ciphertext)), null);
      }
    }
  }

  const bad = vectors.must_not_open;
  for (const { why, body, open_as: as } of bad.cases) {
    const keys = { salt: decode(bad.salt), epoch: as.epoch, roomKey: fromHex(bad.K), senderKeys: new Map() };
    await refused(`must not open: ${why}`, () => openBody(keys, as.type, body));
  }

  for (const { fragment, sealed, password = false, link_secret: secret = null } of vectors.links) {
    const parsed = link.parseFragment(fragment);
    const shown = { sealed: link.isSealed(parsed), password: parsed.password, secret: parsed.secret && encode(parsed.secret) };
    equal("link", shown, { sealed, password, secret });
    const whole = { origin: "https://relay.example", roomId: "6c1f0d5e-3c1b-4a8e-9d42-0f2b8f6f3a11", ...parsed };
    const text = link.formatLink(whole);
    equal("link written", text, `https://relay.example/${whole.roomId}#${fragment}`);
    equal("link read", link.formatLink(link.parseLink(` ${text}\n`)), text);
  }
  for (const { fragment, why } of vectors.bad_links) {
    await refused(`link: ${why}`, () => link.parseFragment(fragment));
  }

  const { direct } = vectors;
  const [from, to] = await Promise.all([
    keyPair(direct.from_private, direct.from_public),
    keyPair(direct.to_private, direct.to_public),
  ]);
  const room = vectors.rooms.find(({ case: name }) => name === "link only");
  const ofRoom = await derive.deriveEpoch(decode(room.salt), 0, null, decode(room.link_secret));
  const inside = JSON.parse(direct.plaintext_json);
  const slot = { type: 5, sid: decode(direct.sender_id), n: direct.counter };
  for (const [name, reader] of [["box", to], ["own", from]]) {
    const info = sealerModule.directInfo(ofRoom, slot, from.publicRaw, reader.publicRaw);
    equal(`direct info_${name}`, toHex(info), direct[`info_${name}`]);
    equal(`direct ${name}`, toHex(await hpke.openBox(decode(inside[name]), reader, info)), direct.envelope_padded_hex);
    await refused(`direct ${name} by another`, () => hpke.openBox(decode(inside[name]), reader === to ? from : to, info));
    const again = await hpke.sealBox(fromHex(direct.envelope_padded_hex), reader.publicRaw, info);
    equal(`direct ${name} again`, toHex(await hpke.openBox(again, reader, info)), direct.envelope_padded_hex);
  }
  for (const small of ["00".repeat(32), `01${"00".repeat(31)}`]) {
    await refused("key of small order", () => hpke.sealBox(new Uint8Array(8), fromHex(small), new Uint8Array(0)));
  }

  const told = vectors.rekey;
  const access = {
    salt: decode(told.salt), owner: decode(told.owner_public), epoch: 0, password: false,
    check: (await derive.deriveEpoch(decode(told.salt), 0, null, decode(room.link_secret))).check,
  };
  const made = () => keysModule.RoomKeys.make(access, null, decode(room.link_secret));
  const next = await (await made()).derive(1, decode(told.new_link_secret));
  const event = { epoch: told.new_epoch, check: encode(next.check), box: told.box, seq: 7 };
  const keys = await made();
  keys.confirm(access);
  equal("rekey", encode(await rekey.takeRekey(keys, to, event, 1000)), told.new_link_secret);
  equal("rekey epoch", keys.epoch, 1);
  equal("rekey again", await rekey.takeRekey(keys, to, event, 1000), null);
  equal("old epoch before", keys.at(0, 6).epoch, 0);
  await refused("old epoch after", () => keys.at(0, 7));
  keys.dropEnded(120_999);
  equal("old epoch within two minutes", keys.at(0, 6).epoch, 0);
  keys.dropEnded(121_000);
  await refused("old epoch after two minutes", () => keys.at(0, 6));
  equal("present epoch after two minutes", keys.current.epoch, 1);
  equal("nothing newer yet", keys.newerCame, false);
  await refused("newer epoch", () => keys.at(2, 6));
  equal("something newer", keys.newerCame, true);
  await refused("rekey for another", async () => rekey.takeRekey(await made(), from, event, 1000));
  await refused("rekey of a wrong epoch", async () => rekey.takeRekey(await made(), to, { ...event, epoch: 2 }, 1000));
  await refused("rekey with a wrong check", async () => rekey.takeRekey(await made(), to, { ...event, check: room.check }, 1000));
  const stranger = crypto.getRandomValues(new Uint8Array(32));
  await refused("rekey by another owner", async () => {
    const other = await made();
    other.owner = stranger;
    await rekey.takeRekey(other, to, event, 1000);
  });
  await refused("salt of another owner", () => keysModule.RoomKeys.make({ ...access, owner: stranger }, null, access.salt));

  equal("person", toHex(await codes.personCode(decode(vectors.person.hpke), decode(vectors.person.salt))), vectors.person.code);
  equal("words", codes.codeWords(Uint8Array.of(0, 0, 255, 255)), ["aardvark", "adroitness", "Zulu", "Yucatan"]);

  // What an Opener believes, and what it doesn't.
  const current = await made();
  current.confirm(access);
  const [ann, bob] = [new sealerModule.Sealer(current, from), new sealerModule.Sealer(current, to)];
  const opener = new openerModule.Opener(current, to, "u_bob", 1_000_000);
  opener.addSealer(bob);
  const hear = (sender, id, body, more = {}) => opener.message({ from: sender, id, body, place: 0, to: null, ...more });
  const first = await ann.message("m1", "hello", 1_000_000);
  await refused("before the card", () => hear("u_ann", "m1", first));
  equal("card", (await opener.card("u_ann", await ann.card("ann"), 0)).nick, "ann");
  await refused("another's card", async () => opener.card("u_eve", await ann.card("ann"), 0));
  equal("heard", (await hear("u_ann", "m1", first)).body, "hello");
  await refused("replayed", () => hear("u_ann", "m1", first));
  const second = await ann.message("m2", "old", 880_000);
  await refused("under another id", () => hear("u_ann", "m3", second));
  await refused("under another name", () => hear("u_eve", "m2", second));
  equal("marked as a replay", (await hear("u_ann", "m2", second)).replayed, true);
  await refused("said before", async () => hear("u_ann", "m1", await ann.message("m1", "hello", 1_000_000)));
  const own = await bob.message("m4", "mine", 1_000_000);
  await refused("reflected", () => hear("u_ann", "m4", own));
  equal("own echo", (await hear("u_bob", "m4", own)).body, "mine");
  await refused("forged echo", () => hear("u_bob", "m5", { ...own, n: own.n + 1 }));
  await refused("plain text", () => hear("u_ann", "m6", { kind: "text", text: "hi" }));
  const whisper = await ann.direct(to.publicRaw, "d1", "psst", 1_000_000);
  await refused("direct told as public", () => hear("u_ann", "d1", whisper));
  equal("direct", (await hear("u_ann", "d1", whisper, { to: "u_bob" })).body, "psst");
  const typing = await ann.signal("typing", true);
  equal("signal", (await opener.signal("u_ann", typing, 0)).data, true);
  await refused("signal replayed", () => opener.signal("u_ann", typing, 0));
  return { checked, wrong };
}
