/* What every test file begins with: cmocka and what it needs included before it. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"

#define assert_err(e, want) assert_string_equal(err_name(e), err_name(want))
#define assert_ok(e)        assert_err(e, OK)
