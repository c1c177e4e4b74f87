"""Photos in, answers out: what `import mfrkit` offers, and the commands that ask it."""
