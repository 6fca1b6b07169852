"""The palette: red, green and blue from 0 to 255."""

# Told apart by lightness as well as hue: at least 18 CIELAB units between any two, as seen with normal vision and with
# protanopia, deuteranopia or tritanopia (Machado et al. 2009).
RGB = {
    "red": (212, 42, 53),
    "orange": (247, 147, 30),
    "yellow": (255, 221, 51),
    "green": (15, 157, 110),
    "blue": (47, 111, 216),
    "purple": (107, 47, 160),
    "pink": (247, 154, 200),
    "black": (38, 38, 46),
}
# Stripes and dots are a pale tone of the colour, or a deep one where the colour is pale itself.
TONE_RGB = {
    "red": (255, 166, 156),
    "orange": (255, 221, 160),
    "yellow": (222, 150, 20),
    "green": (140, 226, 184),
    "blue": (164, 205, 255),
    "purple": (204, 166, 242),
    "pink": (214, 70, 140),
    "black": (156, 156, 172),
}
# Pairs of background colours, pale and of little saturation, so that no object is lost on any of them.
TINT_RGB = [
    [(242, 234, 220), (224, 212, 192)],  # linen
    [(224, 235, 240), (199, 217, 227)],  # mist
    [(229, 238, 226), (204, 221, 202)],  # sage
    [(236, 230, 241), (215, 206, 226)],  # lilac
    [(243, 229, 223), (228, 207, 199)],  # shell
    [(233, 233, 231), (211, 211, 210)],  # stone
    [(223, 238, 236), (196, 219, 216)],  # water
    [(240, 237, 224), (219, 215, 191)],  # straw
]
