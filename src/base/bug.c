#include "base/bug.h"

enum bug bug_planted;
