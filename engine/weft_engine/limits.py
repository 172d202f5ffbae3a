"""Every limit, named in one place, with its unit last.

The first group is part of the format: replicas must agree on them, so they never change without
a new format version. The others are local and may differ between replicas.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# ---- constants of the format ----------------------------------------------------------------

FORMAT_VERSION: Final = 1
CONTEXT_NAME_BYTES_MAX: Final = 256
NOTE_NAME_BYTES_MAX: Final = 128
EVENT_BYTES_MAX: Final = 8 * MIB
BRANCH_DEPTH_MAX: Final = 200
"""Branches on the way from one to main. One that lies deeper has no effect."""
NATIVE_PAYLOAD_BYTES_MAX: Final = 16 * MIB
FOREIGN_PAYLOAD_BYTES_MAX: Final = 64 * MIB
STRUCTS_PER_PAYLOAD_MAX: Final = 262_144
"""Structs, and ranges of deletes. 16 MiB of the smallest events are 200,000."""
VALUES_PER_PAYLOAD_MAX: Final = 4_000_000
WOVEN_STRUCTS_MAX: Final = 8192
"""Structs of one payload that take their place among others: all but first sets of keys, GC and
SKIP. A hostile payload of n of them costs a document up to n * n steps, with the interpreter lock
held: at this limit 2 s, at 100,000 five minutes."""
NATIVE_WOVEN_STRUCTS_MAX: Final = 1024
"""The same in a native payload. An edit of a note is one; a whole document comes as foreign."""
SETS_PER_KEY_MAX: Final = 16
"""First sets of one key in one payload; they cost a document their square, too. Honest writers
make one per client."""
COMPARED_STRUCTS: Final = 4096
COMPARED_PER_STRUCT: Final = 4
"""A document reads so many of its structs, and so many more per struct that it was given, to see
whether what is told again is the same (3 us each). Who tells the same again tells as many."""
NESTING_DEPTH_MAX: Final = 64
CLOCK_END_MAX: Final = 2**32 - 1
"""No Yjs clock plus length goes beyond it: yrs counts clocks in 32 bits and wraps silently."""
DEPS_MAX: Final = 1024
SEEN_MAX: Final = 64
PARTS_MAX: Final = 1024
FRAME_BYTES_MAX: Final = 256 * KIB
INTEGER_MAX: Final = 2**53 - 1

ERASE_PAYLOAD_BYTES_MAX: Final = 8 * MIB
ERASED_EVENTS_MAX: Final = 4096
ERASE_REASON_BYTES_MAX: Final = 1024

# ---- local ----------------------------------------------------------------------------------

RECORD_PAYLOAD_BYTES: Final = 64 * KIB
"""Events that are written together go into records of about this size, so that reading one event
never means reading megabytes around it."""
BATCH_ITEMS_MAX: Final = 256
"""Requests that share one commit of the journal."""
BATCH_BYTES_MAX: Final = MIB
"""What is handed over beyond this waits for the next commit, which is some 20 ms away."""
COMMIT_GATHER_S: Final = 0.002
"""What other regions bring waits until the last commit began so long ago, if nothing else is to be
written before;"""
COMMIT_GATHER_BYTES: Final = 64 * KIB
"""nor does it wait when it is more than this."""
QUEUED_BYTES_MAX: Final = 64 * MIB
"""Payload bytes handed to the journal and not committed yet; a writer above it waits."""
WAITING_RECORDS_MAX: Final = 4096
"""Parked records per session that came before what they depend on."""
WAITING_BYTES_MAX: Final = 64 * MIB
CLOCK_SKEW_MS_MAX: Final = 60_000
"""A record further ahead of our clock than this is flagged and moves no clock."""
CLOCK_OFFSET_MS_MIN: Final = 1_000
"""A smaller difference to a relay's clock is the way of the message, not the clock's fault."""
CLOCK_JUMP_MS_MAX: Final = 5_000
"""What wall and monotonic clock may drift apart between two writes."""
CLOCK_STEP_BACK_MS_MAX: Final = 30 * 24 * 3_600_000
"""How far our clock may be behind what is written, before what is written counts as wrong; as long
as no relay has told the time."""
FETCH_S: Final = 5.0
"""What appends wait at most for records of our own that a peer holds and we lost."""

STREAM_GATHER_S: Final = 0.1
"""What is written into a stream goes into one record of about this time."""
STREAM_GATHER_BYTES: Final = 16 * KIB
"""So much of it goes into a record at once."""
STREAM_WAITING_BYTES: Final = 256 * KIB
"""A writer of a stream waits while more than this is not on disk."""
STREAM_BYTES_MAX: Final = EVENT_BYTES_MAX - 64 * KIB
"""What a stream may grow to, as JSON: it must fit into one event."""
STREAMS_LISTED_MAX: Final = 1000
STREAM_TOLD_CHARS_MAX: Final = 256 * KIB
"""New text of streams that waits for one who watches; beyond this it is left out."""

QUARANTINE_ENTRIES_MAX: Final = 1000
QUARANTINE_BYTES_MAX: Final = 16 * MIB
QUARANTINE_ENTRY_BYTES_MAX: Final = 64 * KIB
"""Evidence that is kept of one refused thing: its beginning."""
QUARANTINE_PER_MINUTE_MAX: Final = 60
"""More refused things than this are not written down: a flood of them is no flood of writes."""
QUARANTINE_PER_LINK_MAX: Final = 16
SUMMARY_BYTES_MAX: Final = 256 * KIB
"""Text of a summary that is recorded: more never fits into what views leave for it."""
CHECKPOINT_RECORDS: Final = 1000
CHECKPOINT_BYTES: Final = MIB
"""A document that had to apply more than this since its last checkpoint gets a new one."""

# ---- links ----------------------------------------------------------------------------------

MESSAGE_BYTES_MAX: Final = 80 * MIB
"""One message put together from fragments: a foreign payload, its envelope and some room."""
INTEREST_CONTEXTS_MAX: Final = 1024
INTEREST_PREFIXES_MAX: Final = 64
INTEREST_BYTES_MAX: Final = 192 * KIB
"""All names of an interest together: a hello has to fit in one frame."""
REGION_NAME_BYTES_MAX: Final = 64
REASON_BYTES_MAX: Final = 1024
"""The reason and the hint of a goodbye, each."""
LISTED_CONTEXTS_MAX: Final = 262_144
"""Contexts that one side of a link may list."""
CONTEXTS_PER_FRAME: Final = 512
FRONTIER_HASHES_MAX: Final = 32_768
"""Hashes of a frontier that are announced. Who has more announces some: that costs bytes only."""
SAMPLE_HASHES_MAX: Final = 64
SAMPLE_ENDS_MAX: Final = 1024
SAMPLE_FLOOR_MAX: Final = 8192
"""Of a list by which two regions find out what both hold; what is left out costs bytes only."""
SAMPLE_RECORDS_FIRST: Final = 64
SAMPLE_RECORDS_FACTOR: Final = 8
"""How far back the first of these looks, and how many times as far each next one."""
ZOOM_BYTES_MAX: Final = FRONTIER_HASHES_MAX // 8
"""A bit for each hash of a list."""
ANNOUNCED_AT_ONCE: Final = 4096
"""Contexts that differ of which a region tells its frontier before it knows what the other lacks of
those that it told first. So joining takes memory for so many, not for all."""
ASKED_CONTEXTS_MAX: Final = 1024
ASKED_SHARED_MAX: Final = 64
"""Contexts whose records one link is asked for at a time; and that where other links could be
asked, too: so these get their share."""
ASKED_IDLE_MS: Final = 5_000
"""What one link was asked for is asked of others if nothing has come for so long,"""
ASKED_LONGEST_MS: Final = 300_000
"""and a context that others wait to be asked for after this in any case."""
ASKED_STILL_MS: Final = 10_000
"""Or after this, if nothing came of the context and little of all that the link was asked for:"""
ASKED_BYTES_PER_S: Final = 64 * KIB
"""less than this of records that were new."""
ASKED_IDLE_STEP_MS: Final = 1_500
"""As much of these times passes at once at most: ticks are a second apart, and a machine that is
busy for longer has not heard what came."""
ANNOUNCED_HASHES_MAX: Final = 131_072
"""Frontier hashes that a peer may announce on one link before their records have come, one for each
context aside."""
RECORDS_PER_FRAME: Final = 512
"""What is read for one frame, unless a signed stretch is longer. With RECORDS_BYTES and one
signature for each record this stays below FRAME_BYTES_MAX."""
RECORDS_BYTES: Final = 160 * KIB
RECORDS_PER_MESSAGE_MAX: Final = 8192
WITHHELD_RECORDS_MAX: Final = 4096
WITHHELD_BYTES_MAX: Final = 8 * MIB
"""Records of one context that wait for the signature that covers them; what goes beyond is sent
without it and waits at the peer."""
POSITIONS_PER_ACK_MAX: Final = 64
WANTED_PER_FRAME_MAX: Final = 1024
WANTED_HASHES_MAX: Final = 8192
"""Records asked for by hash and not sent or come yet."""
WANTED_IN_VAIN_MAX: Final = 65_536
"""Records that a peer may ask for on one link though they are not held, or not the link's."""
WINDOW_FRAMES: Final = 64
WINDOW_BYTES: Final = 8 * MIB
"""Unacknowledged Records messages that a receiver takes, and the bytes of their records."""
REGION_WINDOW_FRAMES: Final = 1024
"""The same between regions: thousands of messages a second, with up to 300 ms to their answers."""
WINDOW_FRAMES_MAX: Final = 4096
FRAMES_PER_TURN: Final = 64
"""Messages of one connection that are taken at once; then the others get their turn."""
FLUSH_BYTES: Final = 256 * KIB
"""What is written to one connection at once; then the others get their turn."""
STEPS_PER_PLACE: Final = 64
"""Messages that a link is sent of what it has to catch up with, some 15 MB, before those that came
later have their turn."""
LINKS_PER_BURST: Final = 32
"""Links for which what is new is made ready before it is written to them."""
BURST_BODY_BYTES: Final = 16 * KIB
"""What is larger is written at once: whether a link is congested shows after it."""
LINKS_PER_TURN: Final = 256
"""Links that are looked at in one turn, about every TICK_S."""
TICK_S: Final = 1.0
INBOX_BYTES: Final = MIB
"""A connection is not read while more than this waits for its user, one message aside."""
ACK_GATHER_S: Final = 0.05
"""What acknowledgements may be gathered, unless a quarter of the window waits for them: by an end
without a region, and between regions."""
OUTBOX_BYTES: Final = MIB
"""A session reads nothing more for a peer while more than this waits to be sent."""
CURSOR_BYTES: Final = 8
"""Of the hash of the record that a cursor stands on."""
CURSOR_MS: Final = 1_000
"""A cursor is told no more often than this,"""
CURSOR_QUIET_MS: Final = 60_000
"""and so often if only contexts have moved that the link is not about: so that what is behind it
stays little."""
CURSORS_MAX: Final = 256
"""Peers and interests whose cursors are kept."""
CURSOR_TAIL_RECORDS_MAX: Final = 65_536
"""Records of our own journal behind a cursor, above which everything is compared instead."""
BEHIND_RECORDS_MAX: Final = 1024
"""Records behind a peer's cursor whose contexts are looked up; when there are more, all contexts of
the interest are looked at (0.1 to 1 us each)."""
PRESENCE_BYTES_MAX: Final = 16 * KIB
"""What one client may show of itself in a context, as JSON."""
PRESENCE_PER_FRAME_MAX: Final = 15
"""Their states fit into one frame."""
PRESENCE_CLIENTS_MAX: Final = 10_000
"""Clients that are shown in one context; who comes later is not."""
PRESENCE_LASTS_MS: Final = 30_000
"""A state that is not told anew in this time is over; it is told anew every half of it."""
PRESENCE_ALL_MAX: Final = 200_000
"""Clients that are shown, or have just left, in all contexts of a replica; then nobody new is."""
PRESENCE_PER_CLIENT_LINK_MAX: Final = 4096
"""Of these, who a link speaks for that is no relay's."""
PRESENCE_STATE_BYTES: Final = KIB
"""What each client that a link may speak for shows on the average at most."""
PRESENCE_CONTEXT_BYTES_MAX: Final = 16 * MIB
PRESENCE_ALL_BYTES_MAX: Final = 128 * MIB
"""What is shown in one context, and in all of a replica; what would be more is not."""
PRESENCE_PER_CLIENT_LINK_S: Final = 400
"""States a second that are taken from such a link: each of its clients can be told anew in time."""
PRESENCE_PER_RELAY_LINK_S: Final = 20_000
PRESENCE_DUE_MAX: Final = 4096
"""Clients whose states wait to be told on one link; what comes then waits to be told anew."""
PRESENCE_FRAME_BYTES: Final = 32 * KIB
"""A frame of presence takes no more states when it has so many bytes of them."""
KNOWN_POSITIONS_MAX: Final = 4096
"""Records of one context that came from the peer and must not go back to it; more are forgotten,
which costs bytes, nothing else."""
CONTEXTS_PER_QUESTION: Final = 64
PAGES_BYTES_MAX: Final = 32 * MIB
"""What is kept in memory of what was read of the journal for one link, for others that ask for the
same: records, the messages made of them, and PAGE_RECORD_BYTES for each record."""
PAGE_RECORD_BYTES: Final = KIB
"""What a record that was read takes beside its bytes, about."""
PAGE_BYTES: Final = 232 * KIB
"""Records of one message that many links share: more than RECORDS_BYTES, where the signatures leave
room in the frame."""
PAGES_PER_READING: Final = 4
"""Messages' worth of one context that is read at once."""
PAGES_IDLE_TICKS: Final = 10
"""TICK_S after which it is dropped, if nobody asks for it."""
LINKS_HELD_BYTES_MAX: Final = 256 * MIB
"""What the clients' links of one relay hold in memory for their peers, all together, and as much
again those of regions; beyond it those that hold most are ended. Far more than honest ones need
at a time: to let a region join takes 10 MB."""
HELD_ENTRY_BYTES: Final = 200
"""What a listed context counts for in that."""
HELD_HASH_BYTES: Final = 100
"""What a hash in a set counts for in that."""
TREE_SALT_BYTES: Final = 8
TREE_ROOT_BYTES: Final = 8
TREE_DIGEST_BYTES: Final = 5
"""Of the digest of a node of a tree, on the wire. Two that differ look alike once in 2**40 times,
and not the next time, when the salts are others."""
TREE_DEPTH_MAX: Final = 60
"""Bits of a path. Contexts whose keys agree in more than these are listed together."""
TREE_LEVELS_MAX: Final = 12
"""Bits by which a node is opened at once."""
TREE_LEAVES_MAX: Final = 32
"""A node of a tree with no more contexts than this is not divided."""
TREE_DIGESTS_PER_MESSAGE: Final = 4096
"""Digests that one end sends in a message, but for one node more: some 5 ms of work at each end."""
TREE_DIGESTS_PER_MESSAGE_MAX: Final = 16_384
"""Nodes and digests in a message that an end takes."""
TREE_NEAR_MS: Final = 5
"""A round trip below this takes no longer than some hundred bytes do: more of them are made."""
TREE_READ_CONTEXTS: Final = 2048
"""Rows in one reading for a tree: some 10 ms."""
TREE_BEHIND_CONTEXTS: Final = 4096
"""A kept tree that is behind by so many contexts is brought up while nobody asks for it."""
TREE_BEHIND_CONTEXTS_MAX: Final = 262_144
"""A kept tree that is behind by more than this is dropped, and made again when it is needed."""
TREE_CONTEXT_BYTES: Final = 45
"""What a context takes in a tree."""
REPEAT_MS: Final = 60_000
"""How often two regions compare the roots of their trees while they are linked, if nothing moves;
each link up to half as much again later."""
REPEAT_AGAIN_MS: Final = 10_000
"""After they differed once."""
REPEAT_LONGEST_MS: Final = 3_840_000
"""They are compared half as often each time they have differed twice, but at least this often."""
REPEAT_PEERS_MAX: Final = 64
"""Stores of which a store remembers that."""
STILL_MS: Final = 2_000
"""Nothing has moved for so long where roots are compared."""
REST_MS: Final = 10_000
"""What has not changed for so long is compared on links on which something moves."""
LIVE_REGIONS_MAX: Final = 64
"""Regions with which one is linked, and of which one knows how far they are."""
VOUCHED_REGIONS_MAX: Final = 256
"""Regions that came with a token of their name, of which that is remembered."""
LIVE_QUIET_MS: Final = 12_000
"""A region of which nothing was heard for so long is not told of as live: longer than between two
heartbeats."""
TIPS_GATHER_S: Final = 0.05
"""What announcements to a region wait for others."""
TIPS_UNACKED_RECORDS_MAX: Final = 4096
"""Records that were announced to one region, or are to be, and are not acknowledged; with more of
them what follows is sent."""
TIPS_OPEN_HASHES_MAX: Final = 8192
"""Announced records that have not come, on one link."""
RECENT_HASHES: Final = 16_384
"""Records journaled last, by hash, in memory: what is announced is mostly among them."""
WANT_AFTER_S: Final = 0.3
"""How long one region waits for what others announced before it asks one of them, and then the
next;"""
WANT_AFTER_S_MAX: Final = 3.0
"""and how long at most, where it comes later than that by itself."""
LATE_HALF_S: Final = 10.0
"""How late things come is half forgotten after this."""
WANT_GRACE_S: Final = 0.02
"""What was read while the event loop was late has so long to get through."""
DISTRUST_MS: Final = 10_000
"""So long a region is sent what another one should have sent it and did not,"""
DISTRUST_AFTER: Final = 2
"""once it asked so often for such things, and none came between without being asked for."""
REACH_GATHER_S: Final = 0.1
"""How long it is gathered what links are told of the regions behind this one."""
REACH_LOOKS_MAX: Final = 512
"""Links that are looked at for that at a time, each once for each region."""
REACH_PAIRS_MAX: Final = 32
"""Positions of a peer for which it is remembered where our journal was when all up to there was in
it; of more, every second one is forgotten."""
REACH_HOLD_MS: Final = 10_000
"""How long nothing is taken from others of a region that has lost its store."""
FORMER_REACHES_MAX: Final = 256
"""Regions and interests of which it is remembered what was said on links that are over."""
CHECKED_CONTEXTS_MAX: Final = 64
"""Contexts in one check."""
HEARTBEAT_MS: Final = 10_000
LINK_DEAD_MS: Final = 25_000
ANSWER_MS: Final = 60_000
"""What a peer may take for the answer that everything else on a link waits for. A relay to which
thousands come back at once needs some of it."""
CLOCK_ASKED_MS: Final = 10_000
"""How often a region asks another for its time."""
CHECK_EVERY_S: Final = 60.0
"""How often at least a region tells others what the event indexes of some contexts say."""
CHECK_ROUND_S: Final = 86_400.0
"""Within which it does so of all contexts, more often if need be,"""
CHECK_SHARE: Final = 0.01
"""unless that would take more than this of a core."""
CHECKED_EVENTS_MAX: Final = 20_000
"""Events after which no more contexts are read for such a message: some 0.1 s of work."""
CHECKED_FOLDED_MAX: Final = 1024
"""Events that are indexed for such a message, or to compare one, of contexts that have an index
which is behind: some 0.2 s of work."""
CHECK_FOLD_RECORDS: Final = 64
"""Records, and"""
CHECK_FOLD_BYTES: Final = 64 * KIB
"""bytes, of which one at least is indexed in one step of that: some 40 ms."""
CHECKED_ROWS_MAX: Final = 16_384
"""Contexts whose rows are looked at for such a message, whether they are indexed or not."""
CHECK_STEP_ROWS: Final = 512
"""Rows in one reading, and"""
CHECK_STEP_BYTES: Final = 2 * MIB
"""bytes in one reading for a digest: a few milliseconds."""
CHECK_PAUSE_S: Final = 0.02
"""Between two readings: others are read in between."""
CHECK_FOUND_MAX: Final = 256
"""Contexts whose indexes were found to differ, of which is remembered how that came out."""
TICKET_BYTES: Final = 16
TICKETS_MAX: Final = 1024
"""Relays whose last ticket is kept."""
ISSUED_TICKETS_MAX: Final = 1_000_000
"""Hellos, after which the ticket of a store that did not come back is forgotten."""
CLOSING_S: Final = 5.0
"""What a goodbye may take to leave."""
ERASERS_PER_MESSAGE_MAX: Final = 8192
ERASERS_BYTES: Final = 8 * MIB
"""Erasers that are read for one message; the records that need more go into the next."""
ERASED_PER_FRAME_MAX: Final = 1024
"""Erasers in a frame of confirmations, and stores that are named with each."""
CONFIRMATIONS_MAX: Final = 10_000
"""Stores whose confirmations of one eraser are kept."""
ERASE_RECORD_BYTES: Final = 64 * KIB
"""Erasing records are made about this large: each is sent beside every message that needs it."""
ERASING_STEP_RECORDS: Final = 1024
"""Records whose payloads are replaced in one commit."""
RELAYS_PER_LINK_MAX: Final = 64
"""Addresses between which one link changes."""
UNSYNCED_LISTED_MAX: Final = 1024
"""Events that no relay holds yet and are listed; of more it is only known how many records."""
REGIONS_KNOWN_S: Final = 10.0
"""How long who waits for more regions than are known, for however long, gives a relay to hear of
them."""
RECONNECT_FIRST_S: Final = 0.5
RECONNECT_LAST_S: Final = 30.0
REGION_RECONNECT_LAST_S: Final = 4.0
"""The same for a region that dials another: there are few, and a mesh is to heal soon."""

# ---- Yjs clients ----------------------------------------------------------------------------

YJS_MESSAGE_BYTES_MAX: Final = FOREIGN_PAYLOAD_BYTES_MAX + KIB
"""One message of a Yjs client: an update and its headers."""
STRUCTS_PER_MESSAGE_MAX: Final = 2 * 1024 * 1024
"""Structs in one message of a Yjs client, which may become several records."""
YJS_SLICE_STRUCTS: Final = 8192
YJS_SLICE_WOVEN: Final = 512
"""What a document takes in at one breath of a message that holds more."""
YJS_SLICE_S_MAX: Final = 0.05
YJS_TRIAL_S_MAX: Final = 2.0
"""Seconds of the processor that a slice and that all of them may take: honest ones take a few
thousandths. Beside these YJS_BYTE_S for each byte."""
YJS_BYTE_S: Final = 2e-8
YJS_INLINE_BYTES: Final = 4 * KIB
"""An update of more bytes is read and tried on a thread of its own."""
YJS_READ_INLINE_BYTES: Final = 16 * KIB
"""A message or an awareness of more bytes is taken apart on a thread: as many small numbers as a
state vector may have take half a second."""
YJS_STEP_WEIGHT: Final = 4 * KIB
YJS_MESSAGE_WEIGHT: Final = 64
"""What a client says in half a millisecond, in bytes, of which each message counts for so many
beside its own; then others get their turn."""
DOCUMENT_TURN_S: Final = 0.005
"""Seconds for which a document is put together, or a room works, before others get their turn."""
YJS_QUEUED_BYTES_MAX: Final = MIB
"""Bytes of one client's messages that wait for their room; then nothing more is read from it."""
YJS_BATCH_MESSAGES: Final = 1024
"""Messages of a room that share a commit."""
YJS_UNSENT_BYTES_MAX: Final = MIB
"""Bytes that wait for one client to read them; then it is told the state anew, when it can."""
YJS_FRAGMENT_BYTES: Final = 128 * KIB
"""A larger message is sent in fragments of this size."""
YJS_PORTION_BYTES: Final = 4 * MIB
"""A larger document is sent in several messages: clients leave when they have read no whole message
for 30 s."""
YJS_ROOMS_LOADING_MAX: Final = 4
"""Documents that are loaded at the same time."""
YJS_ROOMS_MAX: Final = 256
"""Rooms without a client that are kept; the one that was left first goes first."""
YJS_IDLE_S: Final = 30.0
"""A room without a client is kept so long."""
YJS_ASK_AGAIN_S: Final = 1.0
"""A client whose updates came without what they build on is asked for it so often at most, and one
that asks who is there is told so often."""
YJS_LACKED_KEPT: Final = 64
"""Clients whose clocks one is waited for that has sent what builds on them."""
YJS_UNREADY_S: Final = 10.0
"""A client that goes on writing is sent away if nothing of that could be stored for so long."""
YJS_HEARTBEAT_S: Final = 20.0
"""Something is sent at least so often: clients leave after 30 s of silence."""
YJS_LISTEN_S: Final = 5.0
"""How often it is looked who was not heard: it is pinged after two such times, and is ended when it
was not heard for LINK_DEAD_MS, as native links are."""
YJS_AWARENESS_CLIENTS_MAX: Final = 1024
"""Clients in one awareness message."""
YJS_AWARENESS_BYTES_MAX: Final = 512 * KIB
"""One awareness message that a client sends. Clients say again what they hear, so what they are
sent is cut into messages of half of this and of the clients above."""
YJS_AWARENESS_BYTES_S: Final = 256 * KIB
"""Bytes of awareness that are taken from a client in a second, after a burst of sixteen times that;
beyond it they are passed over, as clients tell it anew."""
YJS_AWARENESS_STATE_BYTES: Final = 640
"""What each state in it counts for beside its bytes."""
YJS_MESSAGES_MAX: Final = 1024
"""Messages of the protocol in one websocket message; clients send one."""
YJS_STATE_CLIENTS_MAX: Final = 262_144
"""Clients in a state vector."""

# ---- search ---------------------------------------------------------------------------------

SEARCH_QUERY_CHARS_MAX: Final = 4096
SEARCH_WORDS_MAX: Final = 64
"""Words in a query: each is looked up in every part of the index."""
SEARCH_HITS_MAX: Final = 1000
"""Hits that one search gives; the next come with an offset."""
SEARCH_SHARD_ENTRIES: Final = 16_384
SEARCH_SHARD_CHARS: Final = 16 * MIB
"""A part of the index takes no more when it holds this much: a part is dropped and made anew where
something in it is erased."""
SEARCH_STEP_RECORDS: Final = 128
SEARCH_STEP_BYTES: Final = 128 * KIB
"""What is indexed in one commit: appends that come meanwhile wait for it."""
