"""Room names: what is allowed, when two are the same, and readable ones for rooms created without."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from fnmatch import translate

from relayd.errors import FieldProblem, InvalidFields
from relayd.wire.ids import RandomBytes

MAX_NAME_CHARS = 64

# Words that stand for themselves in /api/v1/<word>; more than are used today, so that the API can grow.
RESERVED = frozenset(
    "api room rooms user users invite invites key keys link links openapi openapi.json docs help health healthz "
    "ready readyz status stats metrics version admin control join new v1 v2".split()
)

_UUID_LIKE = re.compile(r"[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}")
_PUNCTUATION = frozenset(" -_.")
_MAX_MARKS = 4  # combining marks after one letter; Vietnamese and Devanagari need 3, stacked "zalgo" dozens


def normalise_name(text: str) -> str:
    """The name as it is kept and shown: NFC, without space around it.

    Raises:
        InvalidFields: for `name`, saying which rule it breaks.
    """
    # Bounded before NFC: nobody needs a name of a million characters normalised to learn that it is too long.
    reason = "has more than 64 characters" if len(text) > 4 * MAX_NAME_CHARS else ""
    name = "" if reason else unicodedata.normalize("NFC", text).strip()
    reason = reason or _fault(name)
    if reason:
        raise InvalidFields(f"name: {reason}", problems=(FieldProblem("name", reason),))
    return name


def _fault(name: str) -> str:
    if not name:
        return "is empty; leave it out for a generated one"
    if len(name) > MAX_NAME_CHARS:
        return "has more than 64 characters"
    strange = _strange_char(name)
    if strange:
        return f"may have letters, digits, space and -_. only; U+{ord(strange):04X} is none of them"
    if unicodedata.category(name[0])[0] == "M" or not any(char.isalnum() for char in name):
        return "needs a letter or a digit"
    if _UUID_LIKE.fullmatch(name):
        return "looks like a room id"
    return "is a word that the API uses itself" if name_key(name) in RESERVED else ""


def _strange_char(name: str) -> str:
    marks = 0
    for char in name:
        category = unicodedata.category(char)
        marks = marks + 1 if category[0] == "M" else 0
        if not (category[0] == "L" or category == "Nd" or char in _PUNCTUATION or 0 < marks <= _MAX_MARKS):
            return char
    return ""


def name_key(name: str) -> str:
    """What makes two names the same: full case folding (Unicode 3.13, D146), normalised again after it."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


# Letters that look like a Latin one; "i" as "l", as "1" looks like both. The part of confusables.txt (Unicode Technical
# Standard 39) that a word needs to look the same.
_LOOK_ALIKES = {
    ord(char): latin
    for others, latins in (
        ("\u0430\u0432\u0435\u043a\u043c\u043d\u043e\u0440\u0441\u0442\u0443\u0445\u0456\u0458", "abekmhopctyxlj"),
        ("\u0455\u0501\u051b\u051d\u04bb\u04cf\u04af", "sdqwhly"),
        ("\u03b1\u03b2\u03b5\u03b7\u03b9\u03ba\u03bd\u03bf\u03c1\u03c4\u03c5\u03c7\u03f2\u03c3", "abenlkvoptuxco"),
        ("\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7", "abezhlkmnoptyx"),
        ("\u0131\u0269\u0261\u0251\u1d0f\u0578\u057d\u0585\u0581\u0570", "llgaonuogh"),
        ("01i", "oll"),
    )
    for char, latin in zip(others, latins, strict=True)
}


def _skeleton(name: str) -> str:
    """What stays of a name for the eye: no case, marks or punctuation, and one letter for those that look alike."""
    parts = unicodedata.normalize("NFKD", name)
    letters = "".join(char for char in parts if unicodedata.category(char)[0] in "LN" or char == "*")
    # Before the case goes as well: Greek capitals look like other letters than the small ones do.
    return letters.translate(_LOOK_ALIKES).casefold().translate(_LOOK_ALIKES)


class ReservedNames:
    """Names that only admins may give rooms, as people would take their rooms for the server's own.

    Args:
        patterns: names, in which `*` stands for any characters. Compared as they look: without case, accents,
            punctuation and space, and with one letter for letters that look alike.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        skeletons = filter(None, map(_skeleton, patterns))
        self._pattern = re.compile("|".join(map(translate, skeletons)) or r"(?!)")

    def __contains__(self, name: str) -> bool:
        """Whether the name is one of them."""
        return self._pattern.match(_skeleton(name)) is not None


_ADJECTIVES = (
    "amber brave breezy bright calm candid cheery clever coral cosy crimson curious dapper daring dusky eager "
    "early easy fabled fair fancy fleet gentle giddy glad golden grand hardy hazel honest humble ivory jade jolly "
    "keen kind lively lucky lunar mellow merry mighty misty modest neat nimble noble olive opal patient plucky "
    "polite proud quick quiet rapid rosy royal ruby rustic sage scarlet serene shy silver sleek snug solar spry "
    "steady sunny swift tidy topaz tranquil upbeat velvet vivid warm wild windy wise witty young zesty"
).split()
_ANIMALS = (
    "badger bear beaver bison bobcat condor coyote crane cricket curlew deer dingo dolphin dove eagle egret elk "
    "falcon ferret finch fox gazelle gecko gibbon goose grouse hare hawk hedgehog heron hippo ibex ibis jackal "
    "jaguar kestrel kiwi koala lark lemur leopard linnet lizard llama lynx magpie marmot marten meerkat mink mole "
    "moose narwhal newt ocelot okapi orca oriole osprey otter owl panda panther parrot pelican penguin pika plover "
    "puffin puma quail rabbit raven robin salmon seal shrew sparrow stoat stork swallow swan tapir tern thrush "
    "toucan turtle vole walrus weasel whale wolf wombat wren yak zebra"
).split()


def generated_name(random_bytes: RandomBytes) -> str:
    """A readable name like `amber-otter-42`; 734,400 of them, so the caller asks again if one is taken."""
    draw = int.from_bytes(random_bytes(8), "big")
    draw, adjective = divmod(draw, len(_ADJECTIVES))
    draw, animal = divmod(draw, len(_ANIMALS))
    return f"{_ADJECTIVES[adjective]}-{_ANIMALS[animal]}-{10 + draw % 90}"
