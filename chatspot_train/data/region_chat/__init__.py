"""RegionChat: dialogues about annotated regions, written by a language model and checked.

`annotations` reads Visual Genome's files, `llm_prompt` makes the request, `writer` sends it for
many images, `reply_checks` keeps the turns about annotated regions, `journal` stores the results.
"""
