"""The colours of all charts, on screen and on paper."""

# Okabe and Ito's palette, told apart with every common kind of colour blindness.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)))
INK, FAINT, GREY, PAPER = "#222222", "#d9d9d9", "#9a9a9a", "#ffffff"
