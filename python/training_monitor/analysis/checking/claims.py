"""What is claimed: statements read out of a text, and the verdicts on them."""

from __future__ import annotations

from dataclasses import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from training_monitor.analysis.checking.lexicon import Mention
    from training_monitor.analysis.checking.numerals import Numeral
    from training_monitor.analysis.checking.stepping import Place, Steps

__all__ = ["STRUCK", "Claim", "Grounded", "Sentence", "Statement"]

STRUCK = "[struck]"


@dataclass(frozen=True, slots=True)
class Claim:
    """Something that was checked.

    Attributes:
        kind: number, step, citation or metric.
        text: The words in question.
        start: Where they start in the text; -1: in a field of the evidence.
        end: Where they end.
        holds: Whether it is so.
        why: What it was compared with.
    """

    kind: str
    text: str
    start: int
    end: int
    holds: bool
    why: str


@dataclass(frozen=True, slots=True)
class Grounded:
    """A text in which what does not hold is struck.

    Attributes:
        text: The text.
        claims: Everything that was checked, in the order of the text.
    """

    text: str
    claims: tuple[Claim, ...]

    @property
    def checked(self) -> int:
        """How many statements were checked."""
        return len(self.claims)

    @property
    def struck(self) -> int:
        """How many of them do not hold."""
        return sum(not claim.holds for claim in self.claims)

    @property
    def score(self) -> float | None:
        """The share that holds; None: there was nothing to check."""
        return None if not self.claims else 1.0 - self.struck / self.checked


@dataclass(slots=True)
class Statement:
    """A number as it is said of something.

    Attributes:
        numeral: The number.
        role: What it is said to be, as `phrases.role_of` has it, and at, low, high.
        subjects: What may be meant; each group of them one reading, the likeliest first.
        place: The step that it is said of.
        around: Whether that step is not exact.
        window: The steps over which it is said.
        maybe: The only steps of the sentence, where these are said of another number in it.
        side: "since" or "until" where the window is open on one side.
        bound: "above" or "below" where a computed number is a bound.
        about: Whether the number is not exact.
        present: Whether it is said of now.
        inherited: Whether the subjects stand in the sentence before.
        every: Whether it is said of all subjects.
        words: The words around it.
        true: The value that was found for it.
        after: What follows it in the text.
    """

    numeral: Numeral
    role: str
    subjects: list[Mention]
    before: str = ""
    after: str = ""
    place: Place | None = None
    around: bool = False
    window: Steps | None = None
    side: str | None = None
    maybe: Steps | None = None
    bound: str = ""
    about: bool = False
    present: bool = False
    inherited: bool = False
    every: bool = False
    index: str = ""
    epoch: bool = False
    words: frozenset[str] = frozenset()
    true: list[tuple[str, float, float | None]] = field(default_factory=list)
    holds: bool | None = None
    why: str = ""


@dataclass(slots=True)
class Sentence:
    """One sentence, read.

    Attributes:
        statements: Its numbers that are said of the run, in order.
        steps: Its phrases about steps.
        mentions: The names in it.
        paired: The starts of the places to which a number belongs.
        aside: Numbers that are proposed or supposed, and not checked.
        cited: The numbers in the lines of code that it cites.
    """

    start: int
    text: str
    statements: list[Statement]
    steps: list[Steps]
    mentions: list[Mention]
    paired: set[int] = field(default_factory=set)
    aside: list[Numeral] = field(default_factory=list)
    subjects: list[Mention] = field(default_factory=list)
    advised: bool = False
    cited: tuple[float, ...] = ()
