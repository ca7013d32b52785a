/* transcripts [--rewrite] [--under ROOT] FILE...
 *
 * Plays each file by the player of the folder that it lies in. With --under, the files are named
 * relative to the folder of etcd-io/raft's own transcripts: $CORACLE_RAFT_TRANSCRIPTS, or the
 * nearest raft-transcripts kept beside ROOT or its parent; where there is none, the exit code is
 * 77: skipped.
 * Exit codes: 0 all equal, 1 something differs, 2 wrong use, 77 skipped. */
#include "players.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SKIPPED 77

static const struct player *const players[] = {
    &quorum_player,
    &confchange_player,
    &interaction_player,
};

/* By the name of the last folder in the path. */
static const struct player *player_for(const char *path)
{
    const char *file = strrchr(path, '/');
    for (size_t i = 0; file && i < sizeof(players) / sizeof(players[0]); i++) {
        size_t n = strlen(players[i]->folder);
        if ((size_t)(file - path) >= n && memcmp(file - n, players[i]->folder, n) == 0)
            return players[i];
    }
    return NULL;
}

static int play(const char *path, bool rewrite)
{
    const struct player *player = player_for(path);
    if (!player) {
        (void)fprintf(stderr, "%s: in no folder that names a kind of transcript\n", path);
        return 2;
    }
    void *ctx = player->begin();
    int differ = transcript_play(path, rewrite, player->run, ctx);
    player->end(ctx);
    if (differ < 0) {
        (void)fprintf(stderr, "%s: cannot be read or written\n", path);
        return 2;
    }
    return differ == 0 ? 0 : 1;
}

static bool find_folder(const char *root, char *ret_path, size_t size)
{
    const char *given = getenv("CORACLE_RAFT_TRANSCRIPTS");
    if (given) {
        (void)snprintf(ret_path, size, "%s", given);
        return access(ret_path, R_OK) == 0;
    }
    static const char *const places[] = {"%s/../shared/raft-transcripts",
                                         "%s/../../shared/raft-transcripts"};
    for (size_t i = 0; i < 2; i++) {
        (void)snprintf(ret_path, size, places[i], root);
        if (access(ret_path, R_OK) == 0)
            return true;
    }
    return false;
}

int main(int argc, char **argv)
{
    bool rewrite = false;
    const char *root = NULL;
    int at = 1;
    for (; at < argc && argv[at][0] == '-'; at++) {
        if (strcmp(argv[at], "--rewrite") == 0)
            rewrite = true;
        else if (strcmp(argv[at], "--under") == 0 && at + 1 < argc)
            root = argv[++at];
        else
            return 2;
    }
    if (at == argc)
        return 2;
    char folder[2048] = ".";
    if (root && !find_folder(root, folder, sizeof(folder))) {
        (void)fprintf(stderr, "skipped: the transcripts are not here\n");
        return SKIPPED;
    }
    int worst = 0;
    for (; at < argc; at++) {
        char path[4096];
        (void)snprintf(path, sizeof(path), "%s%s%s", root ? folder : "", root ? "/" : "", argv[at]);
        int result = play(path, rewrite);
        worst = result > worst ? result : worst;
    }
    return worst;
}
