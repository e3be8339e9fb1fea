"""RegionChat: dialogues about annotated regions, written by a language model and checked.

`annotations` reads Visual Genome's files, `wording` makes the request, `asking` sends it,
`checking` takes only turns about annotated regions, `journal` keeps what is done, `writing` runs it
all over many pictures.
"""
