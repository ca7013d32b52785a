/* A way around the include paths on purpose. */
#include "../base/up.h"
