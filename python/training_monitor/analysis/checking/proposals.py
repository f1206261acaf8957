"""What is proposed, supposed or general, and no statement about the run."""

from __future__ import annotations

import re

__all__ = ["is_proposal"]

_FLAGS = re.IGNORECASE
# The words that are looked at before and after a number.
_NEAR_CHARS = 200
_ASIDE = (
    r"(?:\W|\b(?:a|an|the|its|only|just|as much as|as low as|as high "
    r"as|still|even|up to|value of|step)\b)*"
)
_COMMON = re.compile(
    r"^\W*(?:is|are) (?:well )?worth\b|"
    r"^\W*(?:is|are|would be|being) (?:a |an |the |generally |usually |quite |considered |often )*"
    r"(?:common|typical|usual|standard|reasonable|default|sensible|safe)\b",
    _FLAGS,
)
_HELPS = re.compile(
    r"^\W*(?:\w+\W+){0,2}?(?:could|would|might|may|should) (?:also "
    r"|well |probably )?(?:help|work|suffice|do\b|improve|"
    r"stabili[sz]e|reduce|be (?:enough|better|worth|a |safer|fine|tried))",
    _FLAGS,
)
_SECOND = re.compile(r"^\s*(?:-|\u2013|to|or)\s*[\d.,e-]+\s?%?")
_VERBS = (
    "try|consider|set|lower|reduce|increase|raise|use|switch|add|clip|enable|change|decrease|drop|"
    "halve|double|aim|target|wait|run|train|resume|restart|roll|warm|"
    "schedule|decay|anneal|cap|limit|keep|apply|"
    "evaluate|log|save|monitor|watch|alert|stop|check|test|move|bump|cut|scale|start|go|make|give|"
    "extend|shorten|adjust|tune|turn|replace|introduce|ramp|tighten|"
    "relax|continue|revisit|allow|pick|"
    "experiment|sweep|search|bring|dial|put|let|aim|plan|expect|look|"
    "inspect|verify|ensure|compare|rerun|re-run"
)
_GERUNDS = (
    "reducing|lowering|setting|increasing|raising|using|switching|adding|clipping|changing|"
    "decreasing|halving|doubling|trying|applying|decaying|annealing|"
    "capping|training for|running for|waiting|scaling"
)
_PROPOSED = re.compile(
    rf"(?:^|[,;:.(\u2014\u2013-]|\b(?:and|or|then|to|please|also|instead|"
    rf"so|otherwise|either|maybe|perhaps|first|next|i'd|we'd|by|of|"
    rf"not|simply|just|about|again))\W*"
    rf"(?:(?:then|also|please|instead|first|maybe|perhaps|simply|just) "
    rf")*(?:{_VERBS})\b(?!\W+(?:of|in|at|from|from its|by|to)\b(?!\W*[\d.]))"
    rf"|\b(?:{_GERUNDS})\b"
    r"|\b(?:should|could|would|might|may want|recommend\w*|suggest\w*|"
    r"consider|let's|i'd|will|e\.g\.|"
    r"for example|for instance|such as|ideally|worth trying|expect(?:ed)?|"
    r"typical(?:ly)?|usual(?:ly)?|normal(?:ly)?|"
    r"common(?:ly)?|general(?:ly)?|rule of thumb|healthy|by default|"
    r"if|unless|in case|whenever|chance level|"
    r"random guessing|threshold|budget|aim|goal|target|something like|perhaps|try)\b",
    _FLAGS,
)
_ASSERTED = re.compile(
    r"\b(?:is|are|was|were|has|have|had|currently|current|now|rose|"
    r"risen|fell|fallen|dropped|increased|"
    r"decreased|reached|reaches|hits|peaked|peaks|spiked|jumped|climbed|"
    r"declined|grew|stands|sits|stayed|"
    r"stays|remained|remains|went|gone|ended|started|began|averaged|"
    r"averages|exceeded|exceeds|showed|shows|observed|"
    r"logged|recorded|measured|because|since|given|due to|although|"
    r"though|whereas|while|already|moved|"
    r"came|sank|plunged|improved|worsened|bottomed|hovered|hovers|"
    r"oscillated|oscillates|diverged|fluctuates|fluctuated|"
    r"ranged|ranges|lies|from|as your|in your config|you use|you set|"
    r"config has|falls|rises|drops)\b"
    r"|, (?:but|as|which|where|and (?:the|it|its))\b",
    _FLAGS,
)
_CONDITION = re.compile(
    (
        r"\b(?:if|unless|in case|whenever|once|until|when)\b(?!\W+\w+(?:\W+\w+){0,"
        r"3}?\W+(?:was|were|rose|fell|reached|had|\w+ed)\b)"
    ),
    _FLAGS,
)
_GENERAL = re.compile(
    r"\b(?:typical|healthy|recommended|common|usual|ideal|expected|"
    r"reasonable|safe|default|chance)(?:ly)?\W+(?:[\w`\x1f-]+\W+){0,"
    r"4}?"
    r"(?:is|are|would be|lies?|be|between|around|of|to)\b[^,;.:]*$|"
    r"\b(?:usually|typically|commonly|generally)\W+(?:considered|regarded|"
    r"seen|set|chosen|used)\b[^,;.:]*$",
    _FLAGS,
)
_CLAUSE_END = re.compile(r"[,;:.)\u2014]|\bthen\b", _FLAGS)
_CLAIM_AFTER = re.compile(r"^\W{0,3}(?:is|are|was|were|seems?|looks?|appears?)\b", _FLAGS)
_REJECTED = re.compile(
    rf"\b(?:instead of|rather than|not|n't|isn't|never|no longer|as opposed to){_ASIDE}$", _FLAGS
)


def is_proposal(before: str, after: str, *, advised: bool) -> bool:
    """Whether a number is proposed, supposed or general, and not said of this run.

    Args:
        before: The sentence before the number.
        after: What follows it.
        advised: Whether the whole text is advice.
    """
    before, after = before[-_NEAR_CHARS:], _SECOND.sub("", after[:_NEAR_CHARS])
    if _REJECTED.search(before) or _HELPS.match(after) or _COMMON.match(after):
        return True
    conditions = list(_CONDITION.finditer(before))
    if _GENERAL.search(before):
        return True
    if conditions and not _CLAUSE_END.search(before, conditions[-1].end()):
        return True
    proposed = max(
        (found.end() for found in _PROPOSED.finditer(before + "0")), default=0 if advised else -1
    )
    if proposed < 0 or _CLAIM_AFTER.search(after):
        return False
    asserted = max((found.start() for found in _ASSERTED.finditer(before)), default=-1)
    if asserted >= proposed and re.match(r"from\b", before[asserted:], _FLAGS):
        # "from 3e-4 to 1e-4": the second is the proposal.
        return bool(re.search(r"\b(?:to|with|and|using|by|at)\b|,", before[asserted:]))
    return asserted < proposed
