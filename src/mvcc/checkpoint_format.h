/* What writer and reader of a checkpoint share (layout: checkpoint.h). */
#pragma once

#define CHECKPOINT_MAGIC        "CORACKP1"
#define CHECKPOINT_MAGIC_BYTES  8
#define CHECKPOINT_HEADER_BYTES 16
#define CHECKPOINT_INFO_BYTES   48
#define CHECKPOINT_END_BYTES    32

enum checkpoint_kind {
    CHECKPOINT_INFO = 1,
    CHECKPOINT_SEGMENT = 2,
    CHECKPOINT_HEAD = 3,
    CHECKPOINT_BUCKET = 4,
    CHECKPOINT_END = 5,
};
