#include "wal/start.h"

#include "base/check.h"

static struct wal_start refuse(enum wal_refusal refusal)
{
    return (struct wal_start){.action = WAL_START_REFUSE, .refusal = refusal};
}

static uint64_t max_of(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* A store at F beside a log that reaches back to it. */
static struct wal_start decide_at_frame(const struct wal_start_facts *facts, uint64_t frame,
                                        enum wal_start_action action)
{
    if (facts->first_index > frame + 1)
        return refuse(WAL_REFUSAL_LOG_STARTS_LATE);
    return (struct wal_start){.action = action,
                              .cut_store = facts->store_torn,
                              .applied = frame,
                              .commit = max_of(facts->commit, frame),
                              .skip_apply = frame};
}

static struct wal_start decide_with_both(const struct wal_start_facts *facts)
{
    uint64_t frame = facts->frame_index;
    if (frame < facts->snapshot_index && facts->staged)
        return decide_at_frame(facts, facts->snapshot_index, WAL_START_FINISH_INSTALL);
    if (frame < facts->snapshot_index && (facts->first_index > 1 || facts->store_torn))
        return refuse(WAL_REFUSAL_STAGED_STORE_MISSING);
    if (frame > facts->last_index) {
        if (!facts->store_imported)
            return refuse(WAL_REFUSAL_LOG_LOST_ENTRIES);
        return (struct wal_start){.action = WAL_START_SKIP_TO_FRAME,
                                  .cut_store = facts->store_torn,
                                  .applied = facts->last_index,
                                  .commit = facts->last_index,
                                  .skip_apply = frame};
    }
    if (facts->has_term_at_frame && facts->term_at_frame != facts->frame_term)
        return refuse(WAL_REFUSAL_TERMS_DISAGREE);
    return decide_at_frame(facts, frame, WAL_START_FRAME);
}

struct wal_start wal_start_decide(const struct wal_start_facts *facts)
{
    if (!facts->has_log)
        return facts->has_store ? refuse(WAL_REFUSAL_STORE_WITHOUT_LOG)
                                : (struct wal_start){.action = WAL_START_NEW};
    CHECK(facts->first_index <= facts->last_index + 1);
    /* A log's state follows its entries, so no torn write explains this. */
    if (facts->commit > facts->last_index)
        return refuse(WAL_REFUSAL_LOG_LOST_ENTRIES);
    if (facts->has_store)
        return decide_with_both(facts);
    if (facts->first_index == 1)
        return (struct wal_start){.action = WAL_START_REPLAY_ALL, .commit = facts->commit};
    if (facts->staged && facts->snapshot_index > 0)
        return decide_at_frame(facts, facts->snapshot_index, WAL_START_FINISH_INSTALL);
    return refuse(WAL_REFUSAL_LOG_WITHOUT_STORE);
}

const char *wal_refusal_text(enum wal_refusal refusal)
{
    static const char *const texts[] = {
#define X(name, text) [WAL_REFUSAL_##name] = text,
        WAL_REFUSALS(X)
#undef X
    };
    CHECK((size_t)refusal < sizeof(texts) / sizeof(texts[0]));
    return texts[refusal];
}
