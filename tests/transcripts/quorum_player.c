#include "players.h"

#include "describe.h"
#include "raft/quorum.h"

#include <inttypes.h>
#include <stdlib.h>

struct fact {
    uint64_t id;
    bool known;
    uint64_t index;
    enum raft_ballot ballot;
};

struct facts {
    struct fact list[RAFT_MEMBERS_MAX];
    size_t count;
};

static struct fact *facts_find(struct facts *self, uint64_t id)
{
    for (size_t i = 0; i < self->count; i++)
        if (self->list[i].id == id)
            return &self->list[i];
    return NULL;
}

static bool index_of(const void *ctx, uint64_t id, uint64_t *ret_index)
{
    const struct fact *fact = facts_find((struct facts *)ctx, id);
    if (!fact || !fact->known)
        return false;
    *ret_index = fact->index;
    return true;
}

static enum raft_ballot ballot_of(const void *ctx, uint64_t id)
{
    const struct fact *fact = facts_find((struct facts *)ctx, id);
    return fact ? fact->ballot : RAFT_BALLOT_MISSING;
}

/* Values are given in the order in which the configurations first name their voters. */
static void read_set(const struct command_arg *arg, struct raft_id_set *set, struct facts *facts)
{
    for (size_t i = 0; arg && i < arg->value_count; i++) {
        if (strcmp(arg->values[i], "zero") == 0)
            return;
        uint64_t id = strtoull(arg->values[i], NULL, 10);
        bool added = raft_id_set_add(set, id);
        CHECK(added);
        if (!facts_find(facts, id))
            facts->list[facts->count++].id = id;
    }
}

static void put_row(struct buf *out, const struct facts *facts, const struct fact *fact)
{
    size_t lower = 0;
    for (size_t i = 0; i < facts->count; i++)
        lower += facts->list[i].index < fact->index;
    size_t n = facts->count;
    if (fact->known) {
        for (size_t i = 0; i < lower; i++)
            put_text(out, "x");
        put_text(out, ">");
        n -= lower;
    } else {
        put_text(out, "?");
    }
    for (size_t i = 0; i < n; i++)
        put_text(out, " ");
    put_text(out, " %5" PRIu64 "    (id=%" PRIu64 ")\n", fact->index, fact->id);
}

static void put_table(struct buf *out, const struct facts *facts,
                      const struct raft_conf_state *conf)
{
    if (facts->count == 0) {
        put_text(out, "<empty majority quorum>");
        return;
    }
    for (size_t i = 0; i < facts->count; i++)
        put_text(out, " ");
    put_text(out, "    idx\n");
    struct raft_id_set all = conf->voters;
    for (uint32_t i = 0; i < conf->voters_outgoing.count; i++) {
        bool added = raft_id_set_add(&all, conf->voters_outgoing.ids[i]);
        CHECK(added);
    }
    for (uint32_t i = 0; i < all.count; i++)
        put_row(out, facts, facts_find((struct facts *)facts, all.ids[i]));
}

static void run_committed(const struct command *command, const struct raft_conf_state *conf,
                          struct facts *facts, struct buf *out)
{
    const struct command_arg *idx = command_find(command, "idx");
    for (size_t i = 0; idx && i < idx->value_count; i++) {
        CHECK(i < facts->count);
        facts->list[i].known = strcmp(idx->values[i], "_") != 0;
        facts->list[i].index = facts->list[i].known ? strtoull(idx->values[i], NULL, 10) : 0;
    }
    put_table(out, facts, conf);
    uint64_t index = raft_joint_index(conf, index_of, facts);
    if (index == UINT64_MAX)
        put_text(out, "∞\n");
    else
        put_text(out, "%" PRIu64 "\n", index);
}

static void run_vote(const struct command *command, const struct raft_conf_state *conf,
                     struct facts *facts, struct buf *out)
{
    static const char *const texts[] = {
        [RAFT_VOTE_PENDING] = "VotePending",
        [RAFT_VOTE_LOST] = "VoteLost",
        [RAFT_VOTE_WON] = "VoteWon",
    };
    const struct command_arg *votes = command_find(command, "votes");
    for (size_t i = 0; votes && i < votes->value_count; i++) {
        CHECK(i < facts->count);
        char vote = votes->values[i][0];
        facts->list[i].ballot = vote == 'y'   ? RAFT_BALLOT_YES
                                : vote == 'n' ? RAFT_BALLOT_NO
                                              : RAFT_BALLOT_MISSING;
    }
    put_text(out, "%s\n", texts[raft_joint_vote(conf, ballot_of, facts)]);
}

static void run(void *ctx, const struct command *command, struct buf *out)
{
    (void)ctx;
    struct raft_conf_state conf = {0};
    struct facts facts = {0};
    read_set(command_find(command, "cfg"), &conf.voters, &facts);
    read_set(command_find(command, "cfgj"), &conf.voters_outgoing, &facts);
    if (strcmp(command->name, "committed") == 0)
        run_committed(command, &conf, &facts, out);
    else if (strcmp(command->name, "vote") == 0)
        run_vote(command, &conf, &facts, out);
    else
        put_text(out, "unknown command\n");
}

static void *begin(void)
{
    return NULL;
}

static void end(void *ctx)
{
    (void)ctx;
}

const struct player quorum_player = {"quorum", begin, run, end};
