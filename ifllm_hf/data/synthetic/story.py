"""Who takes part, what they ask and are told, which answer they like and what they click."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

import numpy as np

from ifllm_hf.data.synthetic import texts
from ifllm_hf.data.synthetic.page import Layout, Screen
from ifllm_hf.data.synthetic.readers_wanted import Readers, Shown
from ifllm_hf.data.synthetic.script import Habit, TurnPlan

UTC = dt.UTC
SYNTHETIC_PREFIX = "worker_synthetic_"  # of every made-up worker, and of no real one
FIRST_SESSION = dt.datetime(2025, 9, 9, 13, 41, tzinfo=UTC)
_SPAN_S = 132 * 86400
_SCREENS = ((1920, 950), (1536, 730), (1366, 650), (1440, 790), (1280, 660))
_SIDES = ("a", "b")

SIX_FIELDS, RELOAD, EPOCH_BACKWARDS = "six_fields", "reload", "epoch_backwards"
LINE_BREAK, REQUOTED, MISSING_IN_REL = "line_break_in_window", "requoted", "missing_in_rel"
ZERO_DATE, CRLF_NAME, ERROR_ANSWER = "zero_date", "crlf_in_llm_name", "error_answer"
CRLF_ANSWER, BLANK_LINES, UNLABELLED = "crlf_in_answer", "blank_lines_in_answer", "unlabelled"
ODD_POINTWISE, NO_BEHAVIOR = "pointwise_in_odd_task", "no_behavior"
NO_QUERY, DOUBLED_UPLOAD = "behavior_without_query", "doubled_upload"
OF_ANSWERS = {CRLF_ANSWER, BLANK_LINES, ERROR_ANSWER}


@dataclass
class User:
    """A made-up worker."""

    user_id: str
    habit: Habit
    screen: tuple[int, int]


@dataclass
class Conversation:
    """The plan of one conversation; its texts are made when it is its turn.

    Attributes:
        index: Number of the conversation; seeds its randomness.
        user: Who talks.
        task_id: Odd for pairwise, even for pointwise (but for one of the defects).
        sides: 2 pairwise, 1 pointwise.
        query_ids: Of its turns.
        start: When the page was loaded.
        new_layout: Whether a pairwise page is the later one, whose paragraphs reach below the box.
        defects: Kinds of defects it carries.
    """

    index: int
    user: User
    task_id: int
    sides: int
    query_ids: list[int]
    start: dt.datetime
    new_layout: bool = False
    defects: set[str] = field(default_factory=set)

    @property
    def conversation_id(self) -> str:
        """The key of the tables."""
        return f"{self.user.user_id}/{self.task_id}"

    @property
    def kind(self) -> str:
        """Either "pairwise" or "pointwise"."""
        return "pairwise" if self.sides == 2 else "pointwise"

    @property
    def screen(self) -> Screen:
        """The window and the layout in use at the time."""
        paired = "paragraph" if self.new_layout else "box"
        return Screen(*self.user.screen, layout="single" if self.sides == 1 else paired)


@dataclass
class StoryTurn:
    """One question with its answers, what the reader thinks of them and what they say."""

    prompt: str
    answers: list[str]
    bullets: bool
    liked: str  # pointwise: "a" better than the previous one, "b" worse
    liking_b: float  # probability that "b" is liked
    longer: str
    points_to: str  # which answer the behaviour speaks for
    click: str | None
    mistake: bool
    likert: list[int]
    plan: TurnPlan


def cast_users(rng: np.random.Generator, count: int) -> list[User]:
    """Make up `count` workers."""
    users = []
    numbers = rng.choice(2**32, count, replace=False)
    for number in numbers.tolist():
        habit = Habit(
            follows=float(rng.uniform(0.3, 0.95)),
            noise_px=float(rng.uniform(35, 80)),
            left_first=float(rng.uniform(0.5, 0.8)),
            pace=float(rng.lognormal(0, 0.2)),
            camera_lost=float(rng.choice([0.0, 0.0, 0.02, 0.2])),
        )
        screen = _SCREENS[int(rng.integers(len(_SCREENS)))]
        users.append(User(f"{SYNTHETIC_PREFIX}{number:08x}", habit, screen))
    return users


def plan_conversations(
    rng: np.random.Generator, count: int, *, pairwise_only: bool = False
) -> list[Conversation]:
    """Plan who has which conversation when; the first worker has about a fifth of them."""
    n_users = min(count, max(6, round(0.18 * count)))
    users = cast_users(rng, n_users)
    weights = 1.0 / np.arange(1, n_users + 1) ** 0.8
    # Everybody has one; the rest goes by weight.
    owner = np.concatenate(
        [np.arange(n_users), rng.choice(n_users, count - n_users, p=weights / weights.sum())]
    )
    rng.shuffle(owner)
    n_turns = rng.choice([3, 4, 5, 6, 7], count, p=[0.81, 0.1, 0.05, 0.03, 0.01])
    gaps = 1 + (rng.random(int(n_turns.sum())) < 0.15) * rng.integers(1, 4, int(n_turns.sum()))
    query_ids = (1 + np.cumsum(gaps)).tolist()
    next_task = [61 + 2 * int(k) for k in rng.integers(0, 40, n_users)]
    conversations, used = [], 0
    for index in range(count):
        user = int(owner[index])
        sides = 2 if pairwise_only else 2 - index % 2
        task_id = next_task[user] + (2 - sides)
        next_task[user] += 2
        seconds = _SPAN_S * index / count + float(rng.uniform(0, 600))
        turns = int(n_turns[index])
        conversations.append(
            Conversation(
                index=index,
                user=users[user],
                task_id=task_id,
                sides=sides,
                query_ids=query_ids[used : used + turns],
                start=FIRST_SESSION + dt.timedelta(milliseconds=round(1000 * seconds)),
                new_layout=index >= 0.75 * count,
            )
        )
        used += turns
    return conversations


def plan_defects(rng: np.random.Generator, conversations: list[Conversation]) -> list[Conversation]:
    """Spread the defects over the conversations, and add the folders that no query belongs to.

    Args:
        rng: Source of randomness.
        conversations: Changed in place.

    Returns:
        Extra conversations that have behaviour and no row in the query log.
    """
    count = len(conversations)
    for conversation in conversations[: max(1, round(0.14 * count))]:
        conversation.defects.add(SIX_FIELDS)
    some = 1 + count // 150
    order = {s: [c for c in conversations if c.sides == s] for s in (1, 2)}
    for group in order.values():
        rng.shuffle(group)
    # Kinds that change the behaviour files take different conversations while there are enough.
    plan = (
        (2, MISSING_IN_REL, 1),
        (1, REQUOTED, 1),
        (2, EPOCH_BACKWARDS, some),
        (1, LINE_BREAK, 1),
        (2, RELOAD, some),
        (1, EPOCH_BACKWARDS, some),
        (1, NO_BEHAVIOR, max(1, count // 20)),
        (2, NO_BEHAVIOR, count // 20),
        (2, LINE_BREAK, 1),
        (1, CRLF_ANSWER, some),
        (2, BLANK_LINES, some),
        (2, ERROR_ANSWER, some),
        (2, CRLF_NAME, 1),
        (1, ZERO_DATE, 1),
        (2, UNLABELLED, some),
        (1, ODD_POINTWISE, 1),
        (1, ERROR_ANSWER, some),
        (2, CRLF_ANSWER, some),
        (2, DOUBLED_UPLOAD, 1),
        (1, DOUBLED_UPLOAD, 1),
    )
    taken = {1: 0, 2: 0}
    for sides, kind, times in plan:
        group = order[sides]
        for _ in range(min(times, len(group))):
            target = group[taken[sides] % len(group)]
            taken[sides] += 1
            if kind == NO_BEHAVIOR and len(target.defects - {SIX_FIELDS}):
                continue  # too few conversations: rather keep the folder that others spoilt
            target.defects.add(kind)
            if kind == ODD_POINTWISE:
                target.task_id = _free_task(conversations, target)
    extra = []
    for number in range(1 + count // 75):
        like = conversations[(7 * number) % count]
        orphan = Conversation(
            index=count + number,
            user=like.user,
            task_id=2 * number + 9001,
            sides=2 if number % 2 == 0 else 1,
            query_ids=[-1, -1, -1],
            start=like.start + dt.timedelta(hours=3),
            defects={NO_QUERY},
        )
        orphan.task_id += 1 if orphan.sides == 1 else 0
        extra.append(orphan)
    return extra


def _free_task(conversations: list[Conversation], target: Conversation) -> int:
    used = {c.task_id for c in conversations if c.user is target.user}
    return next(t for t in range(8001, 9000, 2) if t not in used)


def write_turns(
    rng: np.random.Generator,
    clicks: np.random.Generator,
    conversation: Conversation,
    topic: str,
    readers: Readers,
    first_turn: int,
) -> list[StoryTurn]:
    """Make up the turns of a conversation: texts, likings, clicks.

    Args:
        rng: Source of randomness.
        clicks: Another, which decides which turns are rated.
        conversation: Its plan.
        topic: What it is about.
        readers: What is wanted of them.
        first_turn: Number of its first turn in the release.

    Raises:
        ConfigError: A function of `readers` gives what cannot be used.
    """
    sides, columns = conversation.sides, conversation.screen.columns
    turns: list[StoryTurn] = []
    for k in range(len(conversation.query_ids)):
        bullets = bool(rng.random() < 0.47)
        given = readers.write(first_turn + k, sides)
        if given is None:
            lengths = np.clip(rng.lognormal(7.1, 0.45, sides), 60, 3000)
            answers = [texts.make_answer(rng, int(n), bullets=bullets) for n in lengths]
            answers = _spoil(conversation, k, answers)
        else:
            bullets, answers = False, given[1]  # nobody asked that source for bullet points
        # Drawn before anything is decided: no setting moves the draws of another.
        likes, points, errs = rng.random(), rng.random(), rng.random()
        good, bad = int(rng.choice([4, 4, 4, 5, 5])), int(rng.choice([2, 3, 3, 4, 4]))
        prompt = texts.make_prompt(rng, topic) if given is None else given[0]
        rated = clicks.random() < readers.click_share

        asked = sides == 2 or k > 0
        before = turns[-1] if turns else None
        a = Shown(prompt, answers[0])
        b = Shown(prompt, answers[-1])
        if sides == 1 and before is not None:
            b = Shown(before.prompt, before.answers[0])
        longer = "a" if len(a.answer) >= len(b.answer) else "b"
        # The first of a pointwise conversation has nothing to be compared with.
        liking_b = readers.likes_b(a, b) if asked or readers.taste is None else 0.5
        if liking_b is not None:
            liked = "b" if likes < liking_b else "a"
        else:
            of_longer = 0.5 + 0.5 * readers.text_strength
            liked = longer if likes < of_longer else _other(longer)
            liking_b = of_longer if longer == "b" else 1 - of_longer
        points_to = liked if points < readers.behavior_strength else _other(liked)
        mistake = bool(errs < readers.click_error)
        click: str | None = _other(liked) if mistake else liked
        likert = [good if click == side else bad for side in _SIDES[:sides]]
        last = k + 1 == len(conversation.query_ids)
        if not asked or not rated or UNLABELLED in conversation.defects and last:
            click, mistake = None, False
        layouts = [Layout(text, columns, source) for text, source in map(texts.displayed, answers)]
        turns.append(
            StoryTurn(
                prompt=prompt,
                answers=answers,
                bullets=bullets,
                liked=liked,
                liking_b=liking_b,
                longer=longer,
                points_to=points_to,
                click=click,
                mistake=mistake,
                likert=[] if click is None and asked else likert,
                plan=TurnPlan(
                    layouts=layouts,
                    points_to=_SIDES.index(points_to),
                    likert=likert,
                    click=click,
                    choose=asked,
                ),
            )
        )
    return turns


def _spoil(conversation: Conversation, k: int, answers: list[str]) -> list[str]:
    """Apply the defects of answers."""
    if k == 0 and CRLF_ANSWER in conversation.defects:
        answers = [texts.with_windows_line_ends(answers[0]), *answers[1:]]
    if k == 1 and BLANK_LINES in conversation.defects:
        answers = [texts.with_blank_lines(answers[0]), *answers[1:]]
    if k == 1 and ERROR_ANSWER in conversation.defects:
        answers = [*answers[:-1], texts.ERROR_ANSWER]
    return answers


def _other(side: str) -> str:
    return "b" if side == "a" else "a"
