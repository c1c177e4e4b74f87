"""How results are shown: tables, charts, sheets of pictures, HTML pages."""
