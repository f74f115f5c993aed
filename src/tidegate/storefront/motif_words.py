"""Which words of a product's name ask for which motif."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tidegate.storefront import motifs

WORDS: Final[Mapping[str, motifs.Motif]] = {
    **dict.fromkeys(
        ("bag", "bags", "tote", "shopper", "purse", "backpack", "duffle", "satchel", "messenger"), motifs.bag
    ),
    **dict.fromkeys(("cup", "cups", "mug", "mugs", "teacup", "saucer", "beaker", "coffee"), motifs.cup),
    **dict.fromkeys(("lamp", "lampshade", "lantern"), motifs.lamp),
    **dict.fromkeys(("jar", "jars", "jam", "sweets", "popcorn", "spice"), motifs.jar),
    **dict.fromkeys(("candle", "candles", "light", "t-light", "tealight", "holder", "hldr", "incense"), motifs.candle),
    **dict.fromkeys(("wicker", "hanging-heart"), motifs.hanging_heart),
    **dict.fromkeys(("star", "stars", "snowflake", "angel", "angels"), motifs.star),
    **dict.fromkeys(
        ("bird", "birds", "owl", "dove", "chick", "hen", "duck", "feather", "swallow", "rabbit"), motifs.bird
    ),
    **dict.fromkeys(("bunting", "garland", "chain", "banner", "flags"), motifs.bunting),
    **dict.fromkeys(("cakestand", "cake", "tea-time"), motifs.cake),
    **dict.fromkeys(("cases", "cupcake", "fairy", "muffin", "baking"), motifs.cupcake),
    **dict.fromkeys(
        ("tin", "tins", "drawer", "box", "boxes", "lunchbox", "trinket", "chest", "caddy", "plasters"), motifs.tin
    ),
    **dict.fromkeys(("sign", "slate", "chalkboard", "board", "hook", "hanger", "blackboard", "notice"), motifs.sign),
    **dict.fromkeys(("frame", "mirror", "photo", "print", "poster"), motifs.frame),
    **dict.fromkeys(("clock", "alarm", "timer"), motifs.clock),
    **dict.fromkeys(("vase", "bouquet", "tulip"), motifs.vase),
    **dict.fromkeys(("bottle", "water", "oil", "perfume", "flask", "drink", "decanter", "soap"), motifs.bottle),
    **dict.fromkeys(
        ("book", "books", "notebook", "diary", "journal", "recipe", "album", "novel", "bookcover"), motifs.book
    ),
    **dict.fromkeys(("card", "cards", "snap", "wallet", "postcard", "invites", "patches", "passport"), motifs.card),
    **dict.fromkeys(
        ("pencil", "pencils", "crayons", "pens", "pen", "paint", "chalk", "brush", "sticks"), motifs.pencils
    ),
    **dict.fromkeys(("parasol", "parasols", "umbrella", "fan", "poncho"), motifs.parasol),
    **dict.fromkeys(
        ("cushion", "pillow", "towel", "blanket", "throw", "quilt", "warmer", "pad", "mat", "doormat", "rug"),
        motifs.cushion,
    ),
    **dict.fromkeys(("teapot", "jug", "kettle", "tea", "sugar", "creamer"), motifs.teapot),
    **dict.fromkeys(("bowl", "bowls", "plate", "plates", "dish", "basket", "colander", "moulds"), motifs.bowl),
    **dict.fromkeys(
        ("toy", "tops", "rope", "dominoes", "gliders", "rocket", "game", "puzzle", "harmonica", "soldier"), motifs.toy
    ),
    **dict.fromkeys(("ring", "necklace", "earrings", "bracelet", "charm", "jewel", "brooch", "gem"), motifs.ring),
    **dict.fromkeys(("plant", "garden", "flytrap", "cactus", "seed", "herb", "planter", "pot"), motifs.plant),
    **dict.fromkeys(
        ("shirt", "tee", "top", "tank", "jacket", "hoodie", "sweatshirt", "pullover", "apron"), motifs.shirt
    ),
    **dict.fromkeys(("pants", "shorts", "trousers", "leggings", "capri", "jeans", "pant", "short"), motifs.trousers),
    **dict.fromkeys(("wrap", "gift", "ribbon", "ribbons", "tissue", "tissues", "present", "napkins"), motifs.gift),
    **dict.fromkeys(("lights", "chilli", "string", "led"), motifs.lights),
    **dict.fromkeys(("watch", "wristwatch"), motifs.watch),
    **dict.fromkeys(("ball", "balls", "bauble", "disco", "marbles", "globe"), motifs.ball),
    **dict.fromkeys(("cutlery", "spoon", "fork", "scissor", "scissors", "utensil", "spade", "trowel"), motifs.tools),
    **dict.fromkeys(("house", "cottage", "doll", "home", "doorstop", "birdhouse", "shed"), motifs.house),
    **dict.fromkeys(("shoe", "shoes", "trainer", "trainers", "boot", "boots", "slipper", "slippers"), motifs.shoe),
}
"""Which word of a product's name asks for which motif. The last such word of a name wins: it is usually the noun."""

MOODS: Final[Mapping[str, motifs.Motif]] = {
    **dict.fromkeys(("heart", "hearts", "sweetheart", "love"), motifs.hanging_heart),
    **dict.fromkeys(("christmas", "decoration"), motifs.star),
    **dict.fromkeys(("flower", "flowers", "rose", "roses"), motifs.vase),
    **dict.fromkeys(("storage", "kitchen"), motifs.jar),
    **dict.fromkeys(("spaceboy", "kids"), motifs.toy),
    **dict.fromkeys(("paper", "birthday"), motifs.gift),
    **dict.fromkeys(("picture", "message"), motifs.frame),
    "leaf": motifs.plant,
    "night": motifs.lamp,
}
"""Words that ask for a motif only where no word of WORDS stands."""

ANY: Final[tuple[motifs.Motif, ...]] = (
    motifs.vase,
    motifs.tin,
    motifs.bowl,
    motifs.gift,
    motifs.jar,
    motifs.book,
    motifs.candle,
    motifs.frame,
    motifs.plant,
    motifs.ball,
    motifs.cushion,
    motifs.bottle,
)
"""What stands for a product whose name says nothing that we can draw."""
