"""The rules, and how each one is broken: `tests.simulation.mutants` runs them."""

from __future__ import annotations

from typing import Final

from tests.simulation import context_mutants as context
from tests.simulation import link_mutants as link
from tests.simulation import mesh_mutants as mesh
from tests.simulation import relay_mutants as relay
from tests.simulation import store_mutants as store
from tests.simulation.breaking import Mutant, in_mesh

MUTANTS: Final = (
    Mutant("a record is applied after its whole past", "no gate", store.no_gate),
    Mutant("a commit is on disk", "synchronous = NORMAL", store.synchronous_normal),
    Mutant(
        "the log is kept until the store is synced", "it is used anew", store.write_back_unsynced
    ),
    Mutant("commit, then acknowledge", "acknowledge, then commit", store.acknowledge_first),
    Mutant("only what is new here is forwarded", "known records go back", link.send_back),
    Mutant("overflow is read from the journal", "overflow skips", link.overflow_skips),
    Mutant("commit, then hand out", "echo before commit", link.push_first),
    Mutant(
        "only settled links are pushed to",
        "live body to a link that is not settled",
        link.push_to_all,
        "tests/property/test_hub.py",
    ),
    Mutant("events are read from bytes", "the last set of an id holds", context.last_set_holds),
    Mutant("an equivocation is admitted", "its second side is refused", store.refuse_equivocation),
    Mutant(
        "a peer refuses nothing for its state",
        "taken event ids are refused",
        context.refuse_taken_ids,
    ),
    Mutant("the document follows the journal", "a failed edit stays in it", context.document_ahead),
    Mutant("the waiting room has a limit", "it has none", store.wait_without_end),
    Mutant("order does not depend on arrival", "order by arrival", context.by_arrival),
    Mutant("a signature is verified", "it is not", store.believe_everybody),
    Mutant("a number is used once", "heads survive a failed commit", store.go_on_after_failure),
    Mutant("a skewed record moves no clock", "it moves everybody's", store.follow_any_clock),
    Mutant(
        "who was copied takes a new name", "it goes on under the old one", store.go_on_beside_a_copy
    ),
    Mutant("commit, then tell", "failed commits are told, too", store.tell_of_failures),
    Mutant("earlier names can still sign", "their keys are forgotten", store.forget_earlier_names),
    Mutant(
        "tokens are those of the event shown",
        "those of any of its id",
        context.count_once_for_an_id,
    ),
    Mutant("a frontier keeps all ends", "it keeps the newest", store.forget_ends),
    Mutant("an unclean start takes a new epoch", "the epoch stays", store.keep_the_epoch),
    Mutant("an unclean start takes a new name", "the old one goes on", store.go_on_after_a_crash),
    Mutant("no lease while records are written", "it stays", store.write_before_the_lease_is_gone),
    Mutant("a copy shows an old ticket", "it is taken for the last", store.take_old_tickets),
    Mutant("a clock that ran ahead comes back", "it stays ahead", store.never_correct),
    Mutant("what is erased is never taken again", "it is taken", store.take_erased_payloads),
    Mutant("erasing goes on after a crash", "it is forgotten", store.forget_to_erase),
    Mutant("what is erased is in no file", "it stays in the log", store.erase_without_the_log),
    Mutant("a stand-in comes with its eraser", "it is taken without", store.take_any_stand_in),
    Mutant(
        "what is erased is sent to nobody",
        "what many read outlives it",
        link.pages_outlive,
        test="tests/integration/test_erasing_meanwhile.py::"
        "test_what_was_read_for_links_goes_with_what_is_erased",
    ),
    Mutant("a checkpoint is verified", "it is believed", store.believe_checkpoints),
    Mutant(
        "a chain goes on where it ended",
        "behind what never was",
        store.move_the_head_first,
        "tests/integration/test_scribe.py"
        "::test_what_is_turned_down_at_the_end_is_no_link_of_a_chain",
    ),
    Mutant(
        "a stream is its own writer's",
        "anybody's pieces count",
        context.take_what_another_says_of_a_stream,
        "tests/unit/test_stream_pieces.py",
    ),
    Mutant(
        "who tells of a stream is erased with it",
        "that stays",
        context.lose_who_tells_of_a_stream,
        "tests/integration/test_streams.py::test_who_tells_of_an_erased_stream_later_is_not_heard",
    ),
    Mutant("what is flushed is on disk", "it is not yet", context.flush_later),
    Mutant(
        "a broken stream is ended at the next open", "it stays open", context.leave_streams_open
    ),
    Mutant(
        "a branch shares what its `from` holds", "it shares everything", context.borrow_everything
    ),
    Mutant("what is revoked has no effect", "a revoke does nothing", context.revoke_nothing),
    Mutant(
        "facts don't depend on arrival", "the last to come counts", context.decide_facts_by_arrival
    ),
    Mutant(
        "a hidden message is in no view",
        "it is shown",
        context.show_hidden,
        "tests/integration/test_views.py",
    ),
    Mutant(
        "a summary stands for what it says",
        "any summary is believed",
        context.believe_summaries,
        "tests/integration/test_compacting.py"
        "::test_a_summary_that_says_what_is_not_so_does_not_apply",
    ),
    Mutant(
        "what is late is shown behind a summary",
        "it is left out",
        context.lose_what_is_late,
        "tests/integration/test_compacting.py",
    ),
    Mutant(
        "a hint goes when the order moves",
        "an old hint stays",
        context.keep_old_hints,
        "tests/integration/test_windows.py::test_what_comes_late_takes_the_hints_behind_it_away",
    ),
    Mutant("a budget counts names", "names are free", context.count_no_names),
    Mutant("a view says why it changed", "it says nothing", context.say_no_cause),
    Mutant(
        "siblings don't depend on arrival",
        "who came first is forgotten",
        context.forget_the_waist,
        "tests/integration/test_siblings.py"
        "::test_answers_that_go_on_from_one_without_a_turn_are_of_its_line",
    ),
    Mutant(
        "a cursor names its row",
        "its position is enough",
        link.resume_without_the_row,
        "tests/unit/test_resuming.py::test_a_cursor_is_refused_for_its_row_alone",
    ),
    Mutant(
        "a cursor is of one epoch",
        "it outlives that",
        link.outlive_epochs,
        "tests/unit/test_resuming.py",
    ),
    Mutant(
        "who subscribes catches up first",
        "it joins without",
        link.join_without_catching_up,
        "tests/unit/test_subscribing.py::test_what_is_newly_covered_comes_and_stays_live",
    ),
    Mutant(
        "a cursor is kept behind its records",
        "it is kept at once",
        link.keep_cursors_at_once,
        "tests/unit/test_resuming.py",
    ),
    Mutant(
        "every candidate is in a record",
        "not what changes nothing",
        relay.author_nothing_again,
        "tests/integration/test_live_document.py"
        "::test_an_event_whose_place_is_taken_by_nothing_is_still_written",
    ),
    Mutant(
        "what is written builds on the journal", "on anything", relay.author_without_what_is_needed
    ),
    Mutant("commit, then echo to tabs", "echo before commit (Yjs)", relay.echo_before_commit),
    Mutant(
        "what comes twice is echoed once it is stored",
        "at once",
        relay.echo_what_comes_again_at_once,
    ),
    Mutant("a room serves all of a document", "a half-loaded one", relay.serve_while_loading),
    Mutant(
        "who shows an unknown ticket compares",
        "it resumes",
        mesh.trust_any_ticket,
        "tests/unit/test_resuming.py::test_a_cursor_that_stands_again_by_chance_is_refused",
    ),
    in_mesh("a tree is brought up to date", "no context is marked", mesh.mark_no_context),
    in_mesh("regions compare down to contexts", "leaves are all alike", mesh.compare_no_leaves),
    in_mesh("who is live is told anew", "claims are kept when a link ends", mesh.keep_old_claims),
    Mutant(
        "what is announced is pulled",
        "nothing is asked for",
        mesh.never_pull,
        "tests/unit/test_forwarding.py::test_one_of_those_that_announced_is_asked_and_then_the_next",
    ),
    in_mesh(
        "what is announced is acknowledged when it is here",
        "announcements at once",
        mesh.acknowledge_announcements_at_once,
    ),
    in_mesh("a region is said to hold what it holds", "one position more", mesh.count_one_further),
    in_mesh("what is stated is durable", "what has come is stated", mesh.count_what_has_come),
    in_mesh("an index that is wrong is found", "digests of nothing", mesh.digest_nothing),
    in_mesh("an index that is right is not blamed", "other records", mesh.compare_other_records),
    in_mesh("regions find exactly what is lacking", "a zoom skips a stretch", mesh.skip_a_stretch),
    Mutant(
        "what was asked of a dead link is asked of others",
        "it keeps that",
        mesh.never_give_back,
        "tests/unit/test_zooming.py::test_what_a_link_was_asked_for_is_asked_of_others_at_its_end",
    ),
    Mutant(
        "a link that lives compares again",
        "roots are all alike",
        link.compare_nothing_again,
        "tests/unit/test_repeating.py::test_what_got_lost_in_silence_ends_the_link_and_the_next_one_mends_it",
    ),
    Mutant(
        "only what is still is compared again",
        "at any time",
        link.compare_while_something_moves,
        "tests/unit/test_repeating.py::test_no_root_is_told_before_it_has_been_still_for_a_while",
    ),
    Mutant(
        "a tree that moved meanwhile is not told",
        "it is told",
        link.compare_what_was_read_meanwhile,
        "tests/unit/test_repeating.py"
        "::test_a_tree_says_nothing_if_something_came_while_it_was_read",
    ),
    Mutant(
        "what differs once is compared once more",
        "the link ends at once",
        link.end_at_the_first_difference,
        "tests/unit/test_repeating.py::test_what_differs_once_is_compared_again_before_anything_is_done",
    ),
    Mutant(
        "who never agrees is linked anew more rarely",
        "as often as others",
        link.never_doubt,
        "tests/unit/test_repeating.py::test_who_never_agrees_is_linked_anew_ever_more_rarely",
    ),
    Mutant(
        "a root that answers is not answered",
        "it is, for ever",
        link.answer_answers,
        "tests/unit/test_repeating.py::test_many_trees_make_an_end_read_one",
    ),
    Mutant(
        "a tree that is not kept is compared once",
        "again and again",
        link.compare_any_interest_again,
        "tests/unit/test_repeating.py::test_less_than_everything_is_not_compared_again",
    ),
    Mutant(
        "where something moves what rests is compared",
        "nothing is",
        link.compare_nothing_that_rests,
        "tests/unit/test_repeating.py::test_what_got_lost_where_something_moves_is_found",
    ),
    Mutant(
        "what moves is not compared",
        "it is taken to rest",
        link.take_all_for_resting,
        "tests/unit/test_repeating.py"
        "::test_a_link_on_which_something_always_moves_compares_what_rests",
    ),
    in_mesh("what goes together is all sent", "the last one is not", link.lose_the_last_frontier),
    in_mesh(
        "what goes together is all heard", "the first frontier is", link.hear_the_first_frontier
    ),
    in_mesh("all answers to frontiers are heard", "the first one is", link.hear_the_first_zoom),
    Mutant(
        "what goes together keeps its order",
        "answers overtake",
        link.zooms_overtake,
        "tests/unit/test_together.py::test_nothing_is_lost_and_the_order_stays",
    ),
    in_mesh("gathered acknowledgements leave gaps", "they reach over them", link.gather_over_gaps),
    Mutant(
        "what waits is not acknowledged",
        "parked records are",
        link.acknowledge_what_waits,
        "tests/unit/test_session.py::test_what_comes_out_of_order_waits_unacknowledged_and_is_asked_for",
    ),
    Mutant("only all of an update is echoed", "a part is enough", relay.say_part_is_stored),
    Mutant(
        "an erasure is confirmed to who has its eraser",
        "to everybody",
        link.confirm_early,
        "tests/unit/test_confirming.py::test_nothing_is_told_before_the_peer_holds_its_eraser",
    ),
    Mutant(
        "what came from elsewhere is compared",
        "the peer is taken to have it",
        link.forget_what_came_from_elsewhere,
        "tests/unit/test_resuming.py::test_what_came_from_elsewhere_meanwhile_is_compared_too",
    ),
    Mutant(
        "a copy forgets its cursors",
        "it keeps them",
        link.keep_cursors_of_another,
        "tests/unit/test_resuming.py::test_a_copy_forgets_its_cursors",
    ),
    Mutant(
        "a ticket is kept before records are sent",
        "records go first",
        link.send_before_the_ticket,
        "tests/unit/test_tickets.py::test_nothing_is_sent_while_the_fresh_ticket_has_not_come",
    ),
    Mutant(
        "what is told before the lists counts for nothing",
        "it counts",
        link.count_before_the_lists,
        "tests/unit/test_reach.py::test_what_is_told_before_the_lists_of_a_round_counts_for_nothing",
    ),
    Mutant(
        "who is asked and brings nothing makes way",
        "others wait",
        link.let_nobody_wait_in_vain,
        "tests/unit/test_zooming.py::test_who_is_asked_and_sends_nothing_makes_way",
    ),
    Mutant(
        "another store of a region holds nothing",
        "it holds what the former one held",
        link.keep_what_was_lost,
        "tests/unit/test_reach.py::test_a_region_that_comes_back_with_another_store_holds_nothing",
    ),
    Mutant(
        "a relay that begins anew remembers regions",
        "it knows none",
        relay.forget_regions,
        "tests/integration/test_peers.py"
        "::test_a_region_that_was_away_and_one_that_comes_late_get_all",
    ),
    Mutant(
        "of two regions with one id one takes another",
        "both keep it",
        relay.share_an_id,
        "tests/integration/test_wrong_peers.py"
        "::test_of_two_regions_with_one_id_the_one_with_the_greater_name_takes_another",
    ),
    Mutant(
        "a region is who its token and its place say",
        "whoever says so",
        relay.link_with_any_region,
        "tests/integration/test_wrong_peers.py",
    ),
    Mutant(
        "records need the right to append",
        "a reader's are taken",
        relay.take_from_readers,
        "tests/integration/test_relay.py"
        "::test_without_the_right_to_append_a_link_reads_and_no_more",
    ),
    Mutant(
        "what is asked for is sent if the link is about it",
        "whatever is asked for",
        link.answer_any_want,
        "tests/unit/test_session.py::test_what_is_asked_for_is_sent_if_the_link_is_about_it",
    ),
    Mutant(
        "what comes is taken if the link is about it",
        "whatever comes",
        link.take_any_context,
        "tests/unit/test_session.py::test_records_outside_the_interest_end_the_link",
    ),
    Mutant(
        "a link is about what both ends name",
        "what one of them names",
        link.ask_for_everything,
        "tests/unit/test_subscribing.py::test_what_is_not_permitted_is_not_carried",
    ),
    Mutant(
        "a room shows what is stored",
        "what could not be, too",
        relay.show_what_was_not_stored,
        "tests/integration/test_yjs.py::test_what_could_not_be_stored_is_not_shown_and_comes_again",
    ),
    Mutant(
        "a store's Yjs client id is its own",
        "Yjs clients use it",
        relay.write_for_stores,
        "tests/integration/test_yjs_hostile.py::test_nobody_gives_out_the_clocks_of_a_store",
    ),
    Mutant(
        "a Yjs client does what its token says",
        "readers edit",
        relay.let_readers_edit,
        "tests/integration/test_yjs.py::test_who_may_only_read_may_say_nothing_new",
    ),
    Mutant(
        "foreign records need a trusted certificate",
        "any region's will do",
        relay.trust_any_region,
        "tests/integration/test_trust.py"
        "::test_a_forgery_ends_its_link_with_the_reason_and_nothing_else"
        "[foreign_mark_by_a_region_of_his_own]",
    ),
    Mutant(
        "erasing needs its right",
        "anybody may",
        relay.let_anybody_erase,
        "tests/integration/test_erasure_rights.py",
    ),
    Mutant(
        "editing needs its right",
        "who may append may edit",
        relay.let_anybody_edit,
        "tests/integration/test_note_rights.py::test_a_note_does_not",
    ),
    Mutant(
        "who has lost its token is sent away",
        "who has entered stays",
        relay.never_send_away,
        "tests/integration/test_doors.py::test_a_revoked_token_ends_its_links_and_no_others",
    ),
)
