from chatspot_ros.operators.questions import QUICK_QUESTIONS, History, read_quick_questions


def test_the_walk_through_the_history_keeps_what_was_typed():
    history = History(["one?", "two?"])
    assert history.older("dra") == "two?"
    assert history.older("two?") == "one?"
    assert history.older("one?") == "one?"
    assert history.newer("one?") == "two?"
    assert history.newer("two?") == "dra"
    assert history.newer("draft") == "draft"


def test_a_question_is_kept_once_and_the_oldest_go():
    history = History(f"{k}?" for k in range(150))
    history.add("60?")
    history.add("  ")
    assert len(history.questions) == 100
    assert history.questions[-1] == "60?"
    assert history.questions.count("60?") == 1
    assert History().older("typed") == "typed"


def test_quick_questions_are_read_line_by_line():
    assert read_quick_questions("a?\n\n b? \na?\n") == ("a?", "b?")
    assert read_quick_questions(" \n") == QUICK_QUESTIONS
