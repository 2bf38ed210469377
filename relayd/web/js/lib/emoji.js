/** Emoji by name: `:heart:` and its like, and what is offered as a reaction. */

const TABLE = `smile😄 grin😁 joy😂 rofl🤣 slight_smile🙂 wink😉 blush😊 innocent😇 heart_eyes😍 star_struck🤩 kiss😘 yum😋 tongue😛 zany🤪
hug🤗 thinking🤔 shush🤫 zipper🤐 neutral😐 expressionless😑 smirk😏 unamused😒 eye_roll🙄 grimace😬 relieved😌 pensive😔 sleepy😪 sleeping😴 mask😷
sick🤢 sneeze🤧 hot🥵 cold🥶 dizzy😵 mind_blown🤯 cowboy🤠 party🥳 cool😎 nerd🤓 monocle🧐 confused😕 worried😟 frown🙁 open_mouth😮 flushed😳
pleading🥺 fearful😨 cry😢 sob😭 scream😱 sweat😓 tired😫 yawn🥱 triumph😤 angry😠 rage😡 skull💀 clown🤡 ghost👻 alien👽 robot🤖 cat🐱 dog🐶
wave👋 ok_hand👌 pinch🤏 victory✌️ crossed_fingers🤞 love_you🤟 rock🤘 call_me🤙 left👈 right👉 up👆 down👇 +1👍 thumbsup👍 -1👎 thumbsdown👎 fist✊ punch👊
clap👏 raised_hands🙌 open_hands👐 handshake🤝 pray🙏 writing✍️ muscle💪 eyes👀 brain🧠 shrug🤷 facepalm🤦 bow🙇 run🏃 dance💃
heart❤️ orange_heart🧡 yellow_heart💛 green_heart💚 blue_heart💙 purple_heart💜 black_heart🖤 broken_heart💔 sparkling_heart💖 100💯 boom💥 sweat_drops💦 zzz💤
sun☀️ moon🌙 star⭐ sparkles✨ zap⚡ fire🔥 rainbow🌈 cloud☁️ rain🌧️ snowflake❄️ umbrella☔ ocean🌊 tree🌳 cactus🌵 clover🍀 rose🌹 sunflower🌻 blossom🌸
fox🦊 bear🐻 panda🐼 koala🐨 lion🦁 pig🐷 frog🐸 monkey🐵 see_no_evil🙈 chicken🐔 penguin🐧 bird🐦 owl🦉 unicorn🦄 bee🐝 butterfly🦋 snail🐌 turtle🐢 octopus🐙 whale🐳 otter🦦
apple🍎 banana🍌 lemon🍋 strawberry🍓 avocado🥑 bread🍞 cheese🧀 egg🥚 pizza🍕 burger🍔 fries🍟 taco🌮 noodles🍜 sushi🍣 cookie🍪 cake🍰 birthday🎂 chocolate🍫 coffee☕ tea🍵 beer🍺 beers🍻 wine🍷 cheers🥂
car🚗 bus🚌 train🚆 bike🚲 plane✈️ rocket🚀 ship🚢 house🏠 office🏢 tent⛺ map🗺️ world🌍 mountain⛰️ beach🏖️
phone📱 laptop💻 keyboard⌨️ bulb💡 book📖 books📚 memo📝 pencil✏️ scissors✂️ pin📌 paperclip📎 lock🔒 key🔑 hammer🔨 wrench🔧 gear⚙️ link🔗 mail📧 package📦 calendar📅 chart📈 camera📷 movie🎬 music🎵 guitar🎸 art🎨 game🎮 dice🎲 trophy🏆 medal🏅 soccer⚽ gift🎁 tada🎉 balloon🎈 bell🔔
check✅ x❌ warning⚠️ question❓ exclamation❗ stop🛑 hourglass⏳ alarm⏰ recycle♻️ plus➕ arrow_right➡️ arrow_left⬅️ arrow_up⬆️ arrow_down⬇️ white_flag🏳️ checkered🏁 bug🐛 bomb💣 poop💩 eyes👀`;

/** @type {[string, string][]} name and emoji */
const PAIRS = TABLE.split(/\s+/).map((entry) => {
  const [, name, emoji] = /** @type {RegExpMatchArray} */ (entry.match(/^([\w+-]+?)((?![\w+-]).+)$/u));
  return [name, emoji];
});
const BY_NAME = new Map(PAIRS);

/** Each emoji once, with a name, in the order of the picker. */
export const ALL = [...new Map(PAIRS.map(([name, emoji]) => [emoji, name]))];

/** Those one tap away. */
export const QUICK = ["👍", "❤️", "😂", "😮", "😢", "🎉"];

/**
 * @param {string} text
 * @returns {string} with `:name:` written as the emoji of that name, outside of code
 */
export const withEmoji = (text) =>
  text.replace(/```[\s\S]*?(?:```|$)|`[^`\n]*`|:([a-z0-9_+-]+):/g, (whole, name) => BY_NAME.get(name) ?? whole);

/**
 * @param {string} start  the beginning of a name, without the colon
 * @returns {[string, string][]} up to eight names and emoji; those that begin so come first
 */
export function suggest(start) {
  const within = PAIRS.filter(([name]) => name.includes(start));
  return within.sort(([a], [b]) => Number(b.startsWith(start)) - Number(a.startsWith(start))).slice(0, 8);
}
