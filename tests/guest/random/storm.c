// SPDX-License-Identifier: BSD-2-Clause
#include "random.h"
int run_storm(void) { die("not built yet"); }
int run_serve(void) { die("not built yet"); }
