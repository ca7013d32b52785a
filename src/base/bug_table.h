/* The planted bugs: X(name, what goes wrong). See bug.h. */

/* raft */
X(vote_before_durable, "a vote leaves before it is on the disk")
X(vote_twice, "a member gives its vote to whoever asks last")
X(leads_before_durable, "others' votes make a leader whose own term is not yet on the disk")
X(votes_without_commit,
  "a vote does not tell what is committed: a removal that one member alone has not heard of "
  "strands the rest")
X(vote_for_short_log, "a vote is given to a candidate whose log is behind")
X(append_over_conflict, "a follower keeps its own entry where the leader has another")
X(commit_old_term, "a leader counts acknowledgements of entries of older terms")
X(commit_beyond_match, "a heartbeat tells a follower of a commit that it may not hold")
X(acknowledge_before_durable, "an append is acknowledged before it is on the disk")
X(stale_completion, "a completion of entries that were replaced meanwhile is accepted")
X(read_before_term_commit, "a barrier is answered before the leader's term has committed anything")
X(read_unconfirmed, "a leader answers barriers without asking whether it still leads")
X(read_round_reused, "every round of barriers goes by the same id")

/* changes of members */
X(change_before_commit, "a change of members counts once it is proposed, and stays if it is lost")
X(change_unflushed, "the store's frames keep the members of before a change")
X(change_commit_unsynced, "that a change of members is committed is not made durable at once")
X(two_changes_at_once, "a change of members is taken while another is not applied yet")
X(new_leader_changes, "a new leader forgets that its log may hold a change that is not applied")
X(learner_unready, "a learner is promoted though it lacks much of the log")
X(learner_counts, "a learner counts as a voter for commits")
X(removed_counts, "raft goes on counting a member that was removed")

/* states that are received */
X(snapshot_acknowledged_early, "a state is acknowledged before the log has a record of it")
X(snapshot_recorded_early, "the log has a record of a state that is not staged yet")
X(snapshot_unstaged, "the name of a staged store is not made durable")
X(snapshot_file_shared, "a state arrives in the file that a worker still writes another one to")
X(snapshot_index_ahead, "the state that is sent lacks the entry that it names")
X(install_loses_leases, "a received state comes without leases")
X(install_loses_alarms, "a received state comes without alarms")
X(install_loses_removed, "a received state does not know who was removed")
X(install_loses_learners, "raft does not know the learners of a received state")

/* the write-ahead log */
X(log_not_synced, "the write-ahead log is written and not synced")
X(log_torn_accepted, "a record whose checksum is wrong is replayed")
X(log_tail_left, "what a torn write has left stays behind the log's end")
X(failed_sync_ignored, "a sync of the log that failed counts as done")
X(log_mark_unsynced, "a mark vouches for records that were not yet synced")
X(log_segment_name_unsynced, "the name of a new segment is not made durable")
X(log_spare_not_zeroed, "a recycled segment keeps what it held")
X(log_released_early, "the log is let go of before the store holds what was in it")
X(log_state_dropped, "a hard state that comes without entries is never written")

/* the store */
X(frame_ahead_of_log, "what the log has not yet synced is applied and stored")
X(frame_index_ahead, "a frame names an entry whose changes are not in it")
X(frame_index_behind, "a frame holds changes of an entry behind the one that it names")
X(sync_claimed, "a flush counts as durable when it is written")
X(tombstone_cleaned_early, "a deletion is cleaned away while an older checkpoint lacks it")
X(dead_bits_not_saved, "cleaning drops what superseded a change, and nothing on the disk says so")
X(sweep_before_sync, "a compaction marks changes dead that it does not find durable itself")
X(tombstone_at_compaction_dropped, "the tombstones of the compacted revision go at once")
X(sweep_ignores_pins, "a compaction takes what a pinned reader still needs")
X(misdirected_record_accepted, "a record is not asked whether it is the one that was looked for")
X(revision_from_compaction, "after a crash in a compaction the revision is the compaction's")
X(compaction_forgotten, "a compaction that had not finished is not known after a start")
X(checkpoint_without_leases, "a start from a checkpoint knows of no leases in it")
X(checkpoint_without_alarms, "a start from a checkpoint knows of no alarms in it")
X(checkpoint_ahead_of_removals,
  "a checkpoint lacks what a change removed that the log does not have yet")
X(checkpoint_ahead_of_log, "a checkpoint is written ahead of the synced revision log")

/* apply */
X(half_entry_published, "a read sees half of an entry that several passes apply")
X(txn_reads_its_end, "a range in a transaction sees what comes after it")
X(prev_kv_after_put, "the previous value is the new one")
X(compare_at_published, "compares of a transaction look at what was published last")
X(txn_lease_unchecked, "a transaction puts a key under a lease that is not there")
X(alarm_not_replicated, "a put is refused by what this member knows of its own store")
X(delete_range_inclusive, "a deletion takes the range's end along")
X(proposal_sent_twice, "a proposal that is slow is proposed again")

/* leases */
X(lease_expires_in_pause, "a leader that was paused revokes without asking whether it leads")
X(lease_revoke_forwarded, "who led before goes on to end leases, by way of the new leader")
X(lease_not_extended, "a new leader ends leases at once that the old one had extended")
X(lease_kept_unapplied, "a new leader extends leases whose end it has not applied yet")
X(lease_keys_survive, "a revoke leaves the keys of its lease")
X(lease_attach_lost, "a key put under another lease stays with the first")

/* watches */
X(watch_arrives_early, "a watcher becomes live one change too early")
X(watch_compacted_revision_lost, "a watch from just the compacted revision is ended as compacted")
X(watch_event_twice, "live watchers are told the last change again")
X(watch_progress_ahead, "progress is told to a stream that has watchers behind")
X(watch_starved_loses, "who waits for its stream goes on one revision too late")
X(watch_back_in_time, "a member that is behind tells a resumed watch what it has seen")
X(watch_prev_kv_below_floor, "a previous value is told though it is compacted")
X(watch_filter_ignored, "what was filtered out is told")
