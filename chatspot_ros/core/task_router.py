"""Which kind of answer a question wants, by its wording alone.

The rules were written with config/evaluation/intents.yaml in view; the suite `intent` of
chatspot_train.evaluate measures them on that list and on one that was held out.
"""

from __future__ import annotations

import re

# Said before or behind a request out of politeness, or to begin somehow.
_POLITE = re.compile(
    r"^((please|kindly|now|so|ok|okay|hey|and|then|next|first|well|robot|just|simply"
    r"|(can|could|would|will) (you|the robot)( please| kindly)?(?! see\b)|let the robot"
    r"|i (would|'d) like you to|i'd like you to|i (want|need) you to|help me( to)?)\b[,:]? )+"
    r"|,? (please|thanks|thank you|(can|could|would|will) you)(?=[?.!]*$)",
    re.IGNORECASE,
)
_ACTIONS = (
    r"(open|close|shut|turn|switch|fill|empty|bring|take(?! (a look|me through))|fetch|make|plug"
    r"|unplug|pick(?! out)|put|place|pour|get|press|push|pull|move|carry|hand|pass|clean|clear|tidy"
    r"|wipe|wash|rinse|dry|sweep|swap|exchange|replace|sort|stack|grab|grasp|grip|hold|lift|raise"
    r"|lower|drop|throw|remove|insert|unlock|lock|start|stop|prepare|load|unload|pack|unpack|set"
    r"|cook|boil|cut|slice|stir|mix|hang|tighten|loosen|screw|unscrew|connect|disconnect|drive|come"
    r"|go(?! (over|through|into))|lay|rotate|slide|store|serve|feed|fold|attach|detach|assemble"
    r"|install|heat|cool|charge|flip|shake|squeeze|scoop|align|wrap|water|fix|repair"
    r"|let(?! (me|us)\b))"
)
# First words of a sentence that are no action of a robot, though a thing stands behind them.
_NO_ACTIONS = (
    r"(name|identify|tell|say|give|refer|sum|list|count|answer|guess|compare|classify|recogni[sz]e"
    r"|label|specify|estimate|judge|decide|choose|call|know|see|is|are|was|were|be|has|have|had|do"
    r"|does|did|what|which|who|whose|whom|when|why|how|all|both|any|each|every|some|in|on|at|of|for"
    r"|with|from|by|to|or|but|if|as|than|about|like|beside|behind|under|over|near|not|no|yes|only"
    r"|also|still|even|inside|outside|between|among|around|same|such|that|this|these|those|there"
    r"|here|it|he|she|they|we|i|you|the|a|an)"
)
_PRINT = (
    r"(label|sign|sticker|tag|note|poster|screen|display|badge|banner|ticket|receipt|gauge|meter"
    r"|dial|clock|scales?|thermostat|thermometer|counter|monitor)"
)
_EITHER = r"(on or off|open or (closed|shut)|full or empty|locked or (un|not )\w+)"
# Tried in order; the first that matches decides, and what none matches wants a short answer. What
# form an answer is to have goes before what a question begins with. How two regions stand to each
# other, a count, and what can be answered with yes want a short answer.
_ROUTES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (task, re.compile(pattern, re.IGNORECASE))
    for task, pattern in (
        ("plan", r"\bstep by step\b|\b(which|what|the|all) (next )?(steps|actions)\b"
                 r"|\bsequence of (steps|actions)\b|\b(steps|actions|plan)\b.*\bto\b|^plan\b"
                 r"|\b(procedure|instructions) (for|to)\b|\bhow to\b"
                 r"|\b(best|right|proper|safest|easiest|quickest) way to\b"
                 r"|\bif (i|we|you) (want|wanted|need|wish) to\b"),
        ("state", r"\b(attributes?|keys?) and (a |its )?values?\b"
                  r"|\bas (a )?(state|level|attribute)\b"
                  r"|\b(give|tell|report)( me)? (its|their) stat"
                  r"|^(report|list|give|tell|say|fill|update)\b.*\battributes?\b"
                  rf"|\b{_EITHER}\b.*\b{_EITHER}\b"),
        ("locate", r"\bbounding box|\bcoordinates\b"
                   r"|\b(box|frame|circle|outline|rectangle|ring) (around|round|of)\b"),
        ("describe", r"\b(in|into|the|more|full|all|every) details?\b|\bdetailed\b|\bat length\b"
                     r"|\b(description|paragraph|summary|overview|impression|rundown|account)\b"
                     r"|\b(everything|all|more|information) (you can )?(about|there is to)\b"
                     r"|\beverything you\b|\bin (your own )?words\b|\bsentences\b"
                     r"|\bstate of affairs\b"),
        ("plan", rf"^{_ACTIONS}\b(?!.*\?$)|^tell the (robot|arm|gripper)\b"),
        ("read", r"^how (?!(do|is|are|can|could|would|should)\b)\w+\b.*"
                 rf"\b({_PRINT}|according to|going by)\b"),
        ("", r"<region>.*<region>|^(how many|count\b)|\bnumber of\b"),
        ("locate", r"^(do|can|could|would) you\b.*\bwhere\b|(\band|\bor|[?.,;]) where\b"),
        ("read", r"^(can|could) you (read|make out)\b"
                 r"|\b(text|writing|lettering)\b.*\b(what|which)\b"),
        ("", r"^(is|are|was|were|does|do|did|has|have|had|can|could|would|should|will|may|might"
             r"|must|any|anyone|anybody|anything|who|whose|why)\b(?! idea)"),
        ("state", r"\b(states?|status|condition|settings?)\b|\b(what|which) mode\b"
                  r"|\bposition of the (switch|valve|lever|knob|dial|handle)\b"
                  r"|^(tell me|say|report|list|give)\b.*\b(whether|on or off|or closed|or shut"
                  r"|or empty)\b|^check\b"),
        ("plan", r"\bme through \w+ing\b"
                 r"|^((show|tell|teach|explain)( to)?( me| us)? )?how (do|does|can|could|would"
                 r"|should|must)? ?(i|you|we|one|somebody|someone|the (robot|gripper|arm))\b"
                 r"(?! (describe|say))"
                 r"|^how (can|could|should|must) [\w<> ]+ be \w+(ed|en|t)\b"),
        ("describe", r"\bdescribe\b|^(explain|elaborate|characteri[sz]e|summari[sz]e|narrate|depict"
                     r"|portray|sketch|recount|inform|introduce|brief|talk)\b"),
        ("plan", r"\bwhat (should|must) the robot do\b|^what (would|does|will) it take\b"
                 r"|^what (should|shall|must|can|could|do|does) (i|you|we|one)"
                 r" ((have|need) to )?do\b"
                 r"|^what (must|has to|needs to) (be done|happen)\b"
                 r"|^(?!what|which|how)[\w<> ]+ (should|must|ought to|has to|have to|needs to)"
                 r" (?!.*\?$)"),
        ("locate", r"\bwhere\b|^whereabouts\b|^(find|locate|point|pinpoint|mark|highlight|outline"
                   r"|circle|box|spot|search|seek|look for|draw|select|track|detect|pick out)\b"
                   r"|^show (me )?(the|a|an|all|every|each|which|my|any)\b"
                   r"|\blooking for\b|\b(can't|cannot|can not|could not|couldn't) find\b"),
        ("locate", r"^(in|at|on|under|behind) (which|what)\b|\b(in|at|on) which\b"
                   r"|^(which|what) (part|bit|section|half|area|corner|side) of the (picture|image"
                   r"|photo|scene)\b|\b(position|location|place) of\b"),
        ("read", r"^(read|transcribe|spell|decipher|copy|type|dictate|quote)\b"
                 r"|\b(does|do) (?!th(is|e) (picture|image|photo)).+ (say|read|display|indicate)\b"
                 r"|\b(does|do) (it|this|that|<region>|[\w ]*\b(?!picture|image|photo)\w+) show\b"
                 r"|\bwhat\b.* says\b|^what('s| do| does) (this|that|it|the \w+( \w+)?) say\b"),
        ("read", r"\b(what|which) (\w+ )?(text|words?|numbers?|letters?|digits?|price)\b"
                 r"|\b(what|which) time (does|do|is shown|is it (on|by))\b"
                 r"|\b(written|printed|engraved|stamped|inscribed|stencill?ed|embossed|etched"
                 r"|handwriting|handwritten|lettering|inscription|headline|heading|slogan)\b"
                 r"|\b(text|words?|letters?|digits?|name|named|price|code|reading) (on|in|is on)\b"
                 r"|\b(title|date|text) (on|of)\b|\baccording to\b|\bthe \w+ reading\b"
                 r"|^(give|tell) me the (text|words?|wording|letters?|digits?)\b"
                 r"|\b(the|its|this|that) (\w+ (number|code)|registration|licen[cs]e plate)\b"),
        ("read", rf"\bwhat('s| is| stands)? on (the|this|that|its) {_PRINT}\b|\bwhat stands\b"
                 r"|^(tell|give) me\b.* on (the|this|that|its) (display|screen|label|gauge|meter"
                 r"|dial|clock|scales?|monitor|tag)\b"),
        ("describe", r"^tell me (\w+ ){0,2}about\b|\bcan you tell me about\b|^report\b"
                     r"|^(walk|talk|take|guide) me through\b|\bthere to see\b"
                     r"|\b(tell|show) me what you (can )?(see|notice)\b"),
        ("describe", r"^what('s| is) (going on|happening)\b(?!.*<region>)|\blooks? like\b"
                     r"|^what('s| is| are) (the|it|this|that)\b.* like\?$|^how (do|does) .+ look\?$"
                     r"|^what do you (notice|observe)\b"),
        ("describe", r"^what (can|do) you see\??$|^tell me what is here"),
        ("describe", r"^(tell me )?what is in (this|the) (picture|image|photo|kitchen|room)"),
        ("plan", r"^(i|we)('d| would)? (like|want|need)\b(?! to (know|see|read|hear))"
                 r"|^(let us|let's)\b(?! (see|hear))"
                 rf"|^(?!{_NO_ACTIONS}\b)\w+ (the|a|an|this|that|these|those|it|them|all|both|every"
                 r"|each|<region>)(?!\w)(?!.*\?$)"),
    )
)  # fmt: skip


def route(question: str) -> str:
    """Return the task (one of prompts.TASKS) that a question asks for, by its wording; empty: a
    short answer."""
    words, polite = _POLITE.subn("", " ".join(question.split()))
    if polite:
        words = words.removesuffix("?")
    return next((task for task, pattern in _ROUTES if pattern.search(words)), "")
