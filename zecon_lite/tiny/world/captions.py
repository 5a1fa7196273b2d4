"""Captions for the pictures of the style world, from a small vocabulary with synonyms.

A caption names some of three attributes: the style, the object, the background. The flags that come with it say which,
so that a contrastive loss can count every picture as a positive that agrees with all the attributes a caption names.
"""

from __future__ import annotations

import torch

STYLE_WORDS: dict[str, tuple[str, ...]] = {
    "photo": ("photo", "photograph", "real photo", "color photo", "realistic photo", "photo portrait"),
    "pencil": ("pencil sketch", "pencil drawing", "graphite sketch", "sketch", "pencil", "black and white sketch"),
    "watercolor": ("watercolor painting", "watercolor", "watercolour", "watercolor art", "aquarelle"),
    "oil": ("oil painting", "oil paint", "thick oil painting", "impressionist oil painting", "oil on canvas"),
    "mosaic": ("mosaic", "tile mosaic", "mosaic tiles", "roman mosaic", "mosaic art"),
    "glass": ("stained glass", "stained glass window", "stained glass art", "church window"),
    "pointillism": ("pointillism", "pointillist painting", "colored dots", "painting with dots", "dots"),
    "woodcut": ("woodcut", "woodcut print", "linocut", "wood engraving", "black ink woodcut"),
    "neon": ("neon lights", "neon", "neon sign", "neon light", "glowing neon"),
    "blueprint": ("blueprint", "technical drawing", "blueprint drawing", "white lines on blue paper"),
    "pixel": ("pixel art", "pixels", "pixel game", "8-bit game", "retro pixel art"),
    "comic": ("comic book", "comic", "cartoon", "pop art", "comic strip"),
    "crayon": ("crayon drawing", "crayon", "sketch with crayon", "wax crayon", "child drawing with crayons"),
}

OBJECT_WORDS: dict[str, tuple[str, ...]] = {
    "house": ("house", "cottage", "home"),
    "tree": ("tree", "green tree"),
    "boat": ("boat", "sailboat", "ship"),
    "car": ("car", "toy car", "automobile"),
    "balloon": ("balloon", "hot air balloon"),
    "mountain": ("mountain", "mountain peak"),
    "flower": ("flower", "blossom", "flowers"),
    "fish": ("fish", "swimming fish"),
    "mug": ("mug", "cup", "coffee mug", "cup of coffee"),
    "cat": ("cat", "kitten", "cat face", "portrait of a cat"),
    "mushroom": ("mushroom", "toadstool"),
    "apple": ("apple", "apple fruit"),
}

BACKGROUND_WORDS: dict[str, tuple[str, ...]] = {
    "sea": ("by the sea", "at the ocean", "by the water"),
    "hills": ("in green hills", "in the hills", "on a meadow"),
    "desert": ("in the desert", "on sand dunes", "in the sand"),
    "night": ("at night", "under the moon", "in the dark night"),
    "snow": ("in the snow", "in winter", "on white snow"),
    "room": ("in a room", "indoors", "on a wooden floor"),
}

FUNCTION_WORDS: tuple[str, ...] = (
    "a", "an", "the", "of", "in", "on", "as", "with", "by", "at", "and", "from", "for", "to", "is", "this",
    "style", "image", "picture", "drawing", "painting", "art", "artwork", "made", "drawn", "painted", "scene",
    "portrait", "face", "landscape", "view", "black", "white", "blue", "red", "green", "yellow", "color", "colorful",
    "small", "big", "one", "beautiful", "photo", "something", "thing", "object", "texture",
)  # fmt: skip
"""Words that a prompt may need besides the names of styles, objects and backgrounds."""

STYLE_TEMPLATES: tuple[str, ...] = (
    "{style}",
    "a {style}",
    "{style} style",
    "an image in {style} style",
    "a picture in the style of {style}",
    "this is a {style}",
    "{style} picture",
)
CONTENT_TEMPLATES: tuple[str, ...] = (
    "{content}",
    "a {content}",
    "an image of a {content}",
    "a picture of a {content}",
    "the {content}",
)
JOINT_TEMPLATES: tuple[str, ...] = (
    "a {style} of a {content}",
    "{style} of a {content}",
    "a {content}, {style}",
    "a {content} in {style} style",
    "a {content} as a {style}",
    "an image of a {content} in the style of {style}",
    "{style} {content}",
)

STYLE_ONLY, CONTENT_ONLY = 0.25, 0.35
"""Shares of captions that name only the style, and only the object or background; the rest name style and object."""


def caption(
    style: str, object: str, background: str, generator: torch.Generator
) -> tuple[str, tuple[bool, bool, bool]]:
    """A random caption of a picture and what it names: (text, (names_style, names_object, names_background)).

    style: a key of STYLE_WORDS ("photo" included). object, background: keys of OBJECT_WORDS and BACKGROUND_WORDS.
    All choices come from `generator`, so that one seed gives one series of captions.
    """
    kind, with_background, *picks = torch.rand(6, generator=generator).tolist()
    style_word = _pick(STYLE_WORDS[style], picks[0])
    object_word = _pick(OBJECT_WORDS[object], picks[1])
    place = _pick(BACKGROUND_WORDS[background], picks[2])
    if kind < STYLE_ONLY:
        return _pick(STYLE_TEMPLATES, picks[3]).format(style=style_word), (True, False, False)
    if kind < STYLE_ONLY + CONTENT_ONLY:
        if with_background < 0.15:
            return f"a scene {place}", (False, False, True)
        names_background = with_background < 0.55
        content = f"{object_word} {place}" if names_background else object_word
        return _pick(CONTENT_TEMPLATES, picks[3]).format(content=content), (False, True, names_background)
    names_background = with_background < 0.3
    content = f"{object_word} {place}" if names_background else object_word
    text = _pick(JOINT_TEMPLATES, picks[3]).format(style=style_word, content=content)
    return text, (True, True, names_background)


def words(text: str) -> list[str]:
    """The words of a text as the vocabulary spells them: lower case, commas and full stops dropped."""
    return text.lower().replace(",", " ").replace(".", " ").split()


def vocabulary() -> list[str]:
    """Every word that a caption can contain and the function words, sorted, without duplicates."""
    known = set(FUNCTION_WORDS)
    for group in (STYLE_WORDS, OBJECT_WORDS, BACKGROUND_WORDS):
        for phrases in group.values():
            known.update(word for phrase in phrases for word in words(phrase))
    for template in (*STYLE_TEMPLATES, *CONTENT_TEMPLATES, *JOINT_TEMPLATES):
        known.update(words(template.format(style="", content="")))
    return sorted(known)


def _pick(options: tuple[str, ...], number: float) -> str:
    return options[min(int(number * len(options)), len(options) - 1)]
