# becket. Plain GNU make, one file, no recursion; `make help` lists the targets.
#
# Everything is made below build/: build/becket is the release binary, build/<variant>/ holds the objects,
# tests and fuzz programs of one variant, build/vendor/ the libraries (vendor/README.md).

# ---- Settings, each can be given on the command line -------------------------------------------------

VARIANT      ?= release
PREFIX       ?= /usr/local
JOBS         ?= $(shell nproc 2>/dev/null || echo 2)
# 1, or a list of names from vendor/pins: take these libraries from the system.
SYSTEM_LIBS  ?=
# Only these folders of src/ go into libbecket.a (for work on one module): make unit MODULES=base T=base_
MODULES      ?=
# Which unit tests: T=http_parse runs tests/unit/http_parse*_test.c.
T            ?=
FUZZ_SECONDS ?= 60
FUZZ_SEED ?= 0
FUZZ_TARGET  ?=
SEEDS        ?= 200
SEED         ?= 1
# Warnings are errors in CI only, so that a new compiler does not break a user's build.
WERROR       ?= $(if $(filter true 1,$(CI)),1)
V            ?=

ifeq ($(origin CC),default)
CC := gcc
endif
CLANG        ?= clang
CFLAGS       ?=
LDFLAGS      ?=

# ---- What there is -----------------------------------------------------------------------------------

B        := build
VARIANTS := release asan tsan fuzz cov lint

SRC      := $(sort $(wildcard src/*.c src/*/*.c src/*/*/*.c))
LIB_SRC  := $(filter-out src/main.c,$(SRC))
UNIT     := $(sort $(wildcard tests/unit/*_test.c))
UNIT_MT  := $(filter %_mt_test.c,$(UNIT))
SIM      := $(sort $(wildcard tests/sim/*.c))
FUZZ     := $(sort $(wildcard fuzz/*_fuzz.c))
BENCH    := $(sort $(wildcard bench/*.c bench/*/*.c))
SCRIPTS  := $(sort $(wildcard tests/*/*.t))

ifneq ($(MODULES),)
LIB_SRC  := $(foreach m,$(MODULES),$(filter src/$(m)/%,$(LIB_SRC)))
lib_tag  := -$(subst $() $(),-,$(sort $(MODULES)))
endif

# ---- Libraries ---------------------------------------------------------------------------------------

LIBRARIES := liburing lmdb bearssl yyjson libyaml libsodium cares pcre2
SYSTEM    := $(if $(filter 1,$(SYSTEM_LIBS)),$(LIBRARIES),$(SYSTEM_LIBS))
VENDORED  := $(filter-out $(SYSTEM),$(LIBRARIES))
lib_file   = lib$(patsubst lib%,%,$(1)).a
VENDOR_A  := $(foreach n,$(VENDORED),$(B)/vendor/lib/$(call lib_file,$(n)))
# These are made with sanitizers, too (vendor/README.md).
SANITIZED_asan := bearssl libyaml cares lmdb yyjson libsodium pcre2
SANITIZED_fuzz := bearssl
# The system's static archive where there is one, else its shared library.
system_name = $(if $(filter pcre2,$(1)),pcre2-8,$(1))
system_lib = $(or $(filter /%,$(shell $(CC) -print-file-name=$(call lib_file,$(call system_name,$(1))))),\
               -l$(patsubst lib%,%,$(call system_name,$(1))))
SYSTEM_A  := $(foreach n,$(SYSTEM),$(call system_lib,$(n)))
libs_vendored = $(foreach n,$(VENDORED),$(B)/vendor$(if $(filter $(n),$(SANITIZED_$(1))),-$(1))/lib/$(call lib_file,$(n)))
libs      = $(call libs_vendored,$(1)) $(SYSTEM_A)
INCLUDES  := -Isrc $(foreach n,$(VENDORED),-isystem $(B)/vendor/include/$(n))

# ---- Flags -------------------------------------------------------------------------------------------

WARNINGS := -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wswitch-enum \
            -Wvla -Wundef -Wformat=2 -Wwrite-strings
# On a bare machine the compiler comes only with the first target.
x86      := $(filter x86_64%,$(or $(shell $(CC) -dumpmachine 2>/dev/null),$(shell uname -m)))
# Level 3 needs gcc 12 or clang 9 and a C library that knows it.
fortify  := $(if $(findstring level 2,$(shell printf '\043include <features.h>\nlevel __USE_FORTIFY_LEVEL\n' | \
              $(CC) -O2 -D_FORTIFY_SOURCE=3 -E -P - 2>/dev/null)),2,3)
# "$PWD" is the shell's, as the compiler sees it: a path may have spaces, quotes, or links in it. Lines are enough for
# a trace of calls, and a quarter cheaper to compile than types and variables; CFLAGS=-g for a debugger.
BASE     := -std=c17 -D_GNU_SOURCE -g1 -pthread -fPIE -fno-strict-aliasing -fno-common \
            -ffunction-sections -fdata-sections -ffile-prefix-map="$$PWD"=. \
            $(if $(x86),-fcf-protection)
LINK     := -pthread -pie -static-libgcc -Wl,--gc-sections -Wl,--as-needed -Wl,-z,relro -Wl,-z,now \
            -Wl,-z,noexecstack
# -Og compiles a quarter faster than -O1, and the tests take no longer.
SANITIZE := -Og -fno-omit-frame-pointer -fno-sanitize-recover=all

CC_release     := $(CC)
CFLAGS_release := -O2 -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=$(fortify)
CC_asan        := $(CC)
CFLAGS_asan    := $(SANITIZE) -fsanitize=address,undefined
LDFLAGS_asan   := -fsanitize=address,undefined
CC_tsan        := $(CC)
CFLAGS_tsan    := $(SANITIZE) -fsanitize=thread
LDFLAGS_tsan   := -fsanitize=thread
CC_fuzz        := $(CLANG)
CFLAGS_fuzz    := $(SANITIZE) -fsanitize=fuzzer-no-link,address,undefined
LDFLAGS_fuzz   := -fsanitize=fuzzer-no-link,address,undefined
CC_cov         := $(CC)
CFLAGS_cov     := -O0 --coverage -fprofile-update=atomic
LDFLAGS_cov    := --coverage
CC_lint        := $(CLANG)
# Its warnings are all that is wanted; the objects are empty files.
CFLAGS_lint    := -fsyntax-only -Werror

# ---- Frame -------------------------------------------------------------------------------------------

ifeq ($(filter $(VARIANT),$(VARIANTS)),)
$(error VARIANT is one of: $(VARIANTS))
endif
MAKEFLAGS += --no-builtin-rules -j$(JOBS)
ifneq ($(filter %clean,$(MAKECMDGOALS)),)
.NOTPARALLEL:
endif
.SUFFIXES:
.DELETE_ON_ERROR:
.SECONDARY:

Q     := $(if $(V),,@)
# $(call say,WHAT,NAME): one short line in place of the command, unless V=1.
say    = $(if $(V),,@printf '  %-7s %s\n' '$(1)' '$(2)')

main    := $(wildcard src/main.c)
bin      = $(if $(main),$(B)/$(1)/becket,$(B)/$(1)/libbecket.a)
units    = $(patsubst %.c,$(B)/$(1)/%,$(2))
replays  = $(if $(wildcard fuzz/replay.c),$(patsubst fuzz/%_fuzz.c,$(B)/$(1)/fuzz/%_replay,$(FUZZ)))
sim_main = $(if $(SIM),$(B)/$(1)/sim/sim_main)

.PHONY: all
all: $(if $(filter release,$(VARIANT)),$(if $(main),$(B)/becket,$(call bin,release)),$(call bin,$(VARIANT)))

$(B)/becket: $(B)/release/becket
	$(Q)ln -f $< $@

# Tools are looked for once. .ci/tools installs what is missing, or says what to install.
$(B)/.tools: .ci/tools
	$(Q)mkdir -p $(B)
	$(Q)CC='$(CC)' .ci/tools $(if $(filter test test-programs check unit tidy,$(MAKECMDGOALS)),test)
	$(Q)touch $@

$(B)/.tools-test: .ci/tools | $(B)/.tools
	$(Q)mkdir -p $(B)
	$(Q)CC='$(CC)' .ci/tools test
	$(Q)touch $@

.PHONY: FORCE
FORCE:

# ---- Vendored libraries ------------------------------------------------------------------------------

$(B)/vendor/fetched: vendor/pins vendor/fetch.sh | $(B)/.tools
	$(Q)vendor/fetch.sh
	$(Q)touch $@

define vendor_rule
$(B)/vendor/lib/$(call lib_file,$(1)): vendor/build.sh $(B)/vendor/fetched
	$$(Q)CC='$(CC)' vendor/build.sh $(1)

$(B)/vendor-asan/lib/$(call lib_file,$(1)): vendor/build.sh $(B)/vendor/fetched
	$$(Q)CC='$(CC_asan)' vendor/build.sh $(1) asan

$(B)/vendor-fuzz/lib/$(call lib_file,$(1)): vendor/build.sh $(B)/vendor/fetched
	$$(Q)CC='$(CC_fuzz)' vendor/build.sh $(1) fuzz
endef
$(foreach n,$(LIBRARIES),$(eval $(call vendor_rule,$(n))))

.PHONY: vendor vendor-archive system-libs
vendor: $(VENDOR_A)

vendor-archive: | $(B)/.tools
	$(if $(DIR),,$(error usage: make vendor-archive DIR=...))
	$(Q)vendor/fetch.sh '$(DIR)'

system-libs: | $(B)/.tools
	$(Q)CC='$(CC)' vendor/system.sh $(SYSTEM)

# ---- Rules, the same for every variant ---------------------------------------------------------------

# For `becket version`: the one library whose headers do not say which it is.
bearssl_version := $(if $(filter bearssl,$(VENDORED)),-DBEARSSL_VERSION='"$(word 2,$(shell grep '^bearssl ' vendor/pins))"')

# $(1) is the variant. Objects depend on a file with the settings, so that a changed flag or compiler
# makes them anew, and on the libraries for their headers.
define variant_rules
flags_$(1) = $$(BASE) $$(WARNINGS) $(CFLAGS_$(1)) $(CFLAGS) $(INCLUDES)

$(B)/$(1)/settings: FORCE | $(B)/.tools $(if $(SYSTEM),system-libs)
	$(Q)command -v $$(firstword $$(CC_$(1))) > /dev/null || { \
	    echo 'becket: VARIANT=$(1) needs $$(firstword $$(CC_$(1)))' >&2; exit 1; }
	$(Q)mkdir -p $$(@D)
	$(Q)echo '$$(CC_$(1)) $$(flags_$(1)) $(LDFLAGS) $(call libs,$(1))' | cmp -s - $$@ || \
	    echo '$$(CC_$(1)) $$(flags_$(1)) $(LDFLAGS) $(call libs,$(1))' > $$@

$(B)/$(1)/%.o: %.c $(B)/$(1)/settings $(VENDOR_A)
	$$(call say,CC,$(1) $$<)
	$(Q)mkdir -p $$(@D)
	$(Q)$$(CC_$(1)) $$(flags_$(1)) $(if $(WERROR),-Werror) $$(extra) -MMD -MP -c -o $$@ $$< $(if $(filter lint,$(1)),&& touch $$@)

$(B)/$(1)/tests/%.o: extra = -Itests -I.
$(B)/$(1)/fuzz/%.o: extra = -Itests -Ifuzz -I. -Wno-missing-prototypes
$(B)/$(1)/bench/%.o: extra = -Ibench -I.
$(B)/$(1)/src/cli/cli.o: extra = $(bearssl_version)

link_$(1) = $$(CC_$(1)) $(LINK) $(LDFLAGS_$(1)) $(LDFLAGS)

$(B)/$(1)/becket: $(B)/$(1)/src/main.o $(B)/$(1)/libbecket$(lib_tag).a $(call libs_vendored,$(1))
	$$(call say,LINK,$$@)
	$(Q)$$(link_$(1)) -o $$@ $$^ $(SYSTEM_A) -lm

$(B)/$(1)/tests/unit/%_test: $(B)/$(1)/tests/unit/%_test.o $(B)/$(1)/libbecket$(lib_tag).a $(call libs_vendored,$(1))
	$$(call say,LINK,$$@)
	$(Q)$$(link_$(1)) -o $$@ $$^ $(SYSTEM_A) -lm

$(B)/$(1)/bench/%: $(B)/$(1)/bench/%.o $(B)/$(1)/libbecket$(lib_tag).a $(call libs_vendored,$(1))
	$$(call say,LINK,$$@)
	$(Q)$$(link_$(1)) -o $$@ $$^ $(SYSTEM_A) -lm

$(B)/$(1)/fuzz/%_replay: $(B)/$(1)/fuzz/%_fuzz.o $(B)/$(1)/fuzz/replay.o $(B)/$(1)/libbecket$(lib_tag).a $(call libs_vendored,$(1))
	$$(call say,LINK,$$@)
	$(Q)$$(link_$(1)) -o $$@ $$^ $(SYSTEM_A) -lm

# tests/sim defines what src/ring/ring_uring*.c and file_posix.c and src/base/pages.c define. Its objects come first, so
# the linker does not take these from the archive; a function it lacks would show as defined twice.
$(B)/$(1)/sim/sim_main: $(SIM:%.c=$(B)/$(1)/%.o) $(B)/$(1)/libbecket$(lib_tag).a $(call libs_vendored,$(1))
	$$(call say,LINK,$$@)
	$(Q)mkdir -p $$(@D)
	$(Q)$$(link_$(1)) -o $$@ $$^ $(SYSTEM_A) -lm
endef
$(foreach v,$(VARIANTS),$(eval $(call variant_rules,$(v))))

# $(1) is the variant, $(2) the end of the name, $(3) the sources. The list of members is in a file, so that a removed
# source makes the archive anew too.
define archive_rules
$(B)/$(1)/libbecket$(2).members: FORCE
	$(Q)mkdir -p $$(@D)
	$(Q)echo '$(3)' | cmp -s - $$@ || echo '$(3)' > $$@

$(B)/$(1)/libbecket$(2).a: $(3:%.c=$(B)/$(1)/%.o) $(B)/$(1)/libbecket$(2).members
	$$(call say,AR,$$@)
	$(Q)rm -f $$@
	$(Q)ar qcsDP $$@ $$(filter %.o,$$^)
endef
$(foreach v,$(VARIANTS),$(eval $(call archive_rules,$(v),$(lib_tag),$(LIB_SRC))))

# Threads meet in these layers; what lies above them is not compiled for the tests of threads.
THREADED := $(filter $(foreach m,base ring http journal providers tls hub/ingress hub/routes hub/links hub/deliveries/flow,\
              src/$(m)/% src/$(m).c),$(LIB_SRC))
$(eval $(call archive_rules,tsan,-threads,$(THREADED)))
$(B)/tsan/tests/unit/%_mt_test: $(B)/tsan/tests/unit/%_mt_test.o $(B)/tsan/libbecket-threads.a $(call libs_vendored,tsan)
	$(call say,LINK,$@)
	$(Q)$(link_tsan) -o $@ $^ $(SYSTEM_A) -lm

# Of these the release variant tells the warnings, for they cost a seventh of what it takes to compile.
$(B)/asan/src/%.o $(B)/tsan/src/%.o: private WARNINGS :=

# What every webhook runs through, and where it pays (bench/instructions).
HOT := base/crc32c base/hex base/sha256 base/sha256_blocks http/parse http/message http/answer \
       http/receive providers/scheme providers/verify_text providers/verify_keys providers/signed_text \
       providers/place providers/sent_at providers/handshake providers/identity providers/redact \
       hub/ingress/ingress hub/ingress/accept hub/ingress/acknowledge hub/ingress/answer \
       hub/ingress/record hub/ingress/source_table journal/journal
$(HOT:%=$(B)/release/src/%.o): extra = -O3

$(B)/fuzz/fuzz/%_fuzz: $(B)/fuzz/fuzz/%_fuzz.o $(B)/fuzz/libbecket$(lib_tag).a $(call libs_vendored,fuzz)
	$(call say,LINK,$@)
	$(Q)$(CLANG) $(LINK) -fsanitize=fuzzer,address,undefined $(LDFLAGS) -o $@ $^ $(SYSTEM_A) -lm

-include $(foreach v,$(VARIANTS),$(patsubst %.c,$(B)/$(v)/%.d,$(SRC) $(UNIT) $(SIM) $(FUZZ) $(BENCH) \
             fuzz/replay.c))

# ---- Run and test ------------------------------------------------------------------------------------

.PHONY: run
run: $(B)/becket
	$(Q)$(B)/becket serve --data $(B)/run --quick-start

# What tests find in their environment; all paths are absolute. AddressSanitizer's own measure of caution, 30 frames of
# each allocation's stack and 256 MiB of freed memory kept away, costs a fifth of its programs' time.
test_env := BECKET="$$PWD/$(B)/becket" BECKET_ASAN="$$PWD/$(B)/asan/becket" \
            BECKET_BUILD="$$PWD/$(B)" BECKET_ROOT="$$PWD" VECTORS="$$PWD/tests/vectors" \
            BECKET_SYSTEM_LIBS='$(SYSTEM)' BECKET_CFLAGS='$(flags_release)' CC='$(CC)' \
            UBSAN_OPTIONS=print_stacktrace=1 ASAN_OPTIONS=malloc_context_size=8:quarantine_size_mb=32
prove    := $(test_env) prove --timer --failures --exec tests/run

# The sanitizers see every unit test. As it ships, with -O3, what a webhook runs through can differ; the rest runs as it
# ships in the scripts, and by `make unit`.
UNIT_SHIPPED  := $(foreach m,base_crc32c base_codec base_sha256 http_ journal_ providers_,$(filter tests/unit/$(m)%,$(UNIT)))
test_units    := $(call units,asan,$(UNIT)) $(call units,tsan,$(UNIT_MT)) $(call replays,asan) \
                 $(call units,release,$(UNIT_SHIPPED))
test_programs := $(if $(main),$(B)/becket $(B)/asan/becket) $(call sim_main,release) $(call sim_main,asan) \
                 $(test_units) $(BENCH:%.c=$(B)/release/%)
# Those in tests/serial want the machine for themselves, one after another; the simulator, beside them, takes what they
# leave (tests/rules.yml). Of the others most scripts wait more than they compute, and programs only compute: these
# take turns in the list, and three jobs more than there are cores are under way (with six, checks of time failed now
# and then).
TEST_JOBS     ?= $(shell expr $(JOBS) + 3)
comma         := ,
early         := $(filter tests/serial/% tests/sim/%,$(SCRIPTS))
mixed         := $(subst $(comma), ,$(join $(patsubst %,%$(comma),$(filter-out $(early),$(SCRIPTS))),$(test_units)))
test_list     := $(early) $(mixed)

.PHONY: test test-programs check unit tidy sim
test-programs: $(test_programs)

test: $(test_programs) | $(B)/.tools-test
	$(Q)HARNESS_RULESFILE=tests/rules.yml $(prove) -j$(TEST_JOBS) $(test_list)

check: test

selected := $(call units,$(VARIANT),$(sort $(wildcard tests/unit/$(T)*_test.c)))
unit: $(selected) | $(B)/.tools-test
	$(if $(selected),,$(error there is no tests/unit/$(T)*_test.c))
	$(Q)$(prove) -j$(JOBS) $(selected)

tidy: $(if $(main),$(B)/becket) | $(B)/.tools-test
	$(Q)$(prove) -j$(JOBS) $(wildcard tests/tidy/*.t)

sim: $(call sim_main,$(VARIANT))
	$(if $(SIM),,$(error tests/sim has no sources yet))
	$(Q)$< --seed $(SEED) --seeds $(SEEDS)

# ---- Fuzzing, measuring, advice -----------------------------------------------------------------------

fuzz_targets := $(if $(FUZZ_TARGET),$(FUZZ_TARGET),$(FUZZ:fuzz/%_fuzz.c=%))

.PHONY: fuzz bench lint advice cov compile_commands
fuzz: $(fuzz_targets:%=$(B)/fuzz/fuzz/%_fuzz)
	$(Q)fuzz/run.sh $(FUZZ_SECONDS) $(FUZZ_SEED) $(JOBS) $(fuzz_targets)

# The page of providers out of the table.
.PHONY: catalogue
catalogue: $(B)/becket
	$(Q)$< providers -o markdown > src/providers/CATALOGUE.md

# bench/run, where it exists, knows how to run them; without it each program runs once.
bench: $(if $(main),$(B)/becket) $(BENCH:%.c=$(B)/release/%)
	$(Q)if [ -x bench/run ]; then $(test_env) bench/run; \
	    else for b in $(BENCH:%.c=$(B)/release/%); do echo "== $$b"; $$b || exit 1; done; fi

# The other compiler with warnings as errors.
lint_files := $(SRC) $(UNIT) $(SIM) $(FUZZ) $(BENCH)
lint: $(lint_files:%.c=$(B)/lint/%.o)

# What clang-tidy suspects, for a person to judge: it takes minutes, so no other target runs it.
advice_checks := -*,bugprone-*,-bugprone-easily-swappable-parameters,clang-analyzer-*,-clang-analyzer-security.insecureAPI.*
advice: $(VENDOR_A)
	$(Q)printf '%s\n' $(SRC) | xargs -P $(JOBS) -n 8 sh -c \
	    'clang-tidy --quiet --checks="$(advice_checks)" "$$@" -- $(flags_lint) 2> /dev/null || true' clang-tidy

# By .clang-format; wants the version that Debian 12 has, others differ in detail.
.PHONY: format
format:
	clang-format -i $(sort $(wildcard src/*.[ch] src/*/*.[ch] src/*/*/*.[ch] tests/*.h tests/*/*.[ch] fuzz/*.[ch] bench/*/*.[ch]))

cov: $(call units,cov,$(UNIT)) $(call replays,cov)
	$(Q)find $(B)/cov -name '*.gcda' -delete
	$(Q)BECKET_BUILD="$$PWD/$(B)/cov" $(prove) -j$(JOBS) $^
	$(Q)tests/cov $(B)/cov $(LIB_SRC)

# Below build/, where clangd looks for it by itself.
compile_commands: $(B)/compile_commands.json
$(B)/compile_commands.json: FORCE $(VENDOR_A)
	$(Q){ echo '['; for f in $(SRC) $(UNIT) $(SIM) $(FUZZ) $(BENCH) $(wildcard fuzz/replay.c); do \
	    printf '%s{"directory":"%s","file":"%s","command":"%s -Itests -Ifuzz -I. -c %s"}\n' "$$sep" \
	        "$$PWD" "$$f" '$(CC) $(filter-out -ffile-prefix-map%,$(flags_release))' "$$f"; sep=,; done; echo ']'; } > $@.tmp
	$(Q)mv $@.tmp $@
	@echo '$@ written'

# ---- Install, clean ----------------------------------------------------------------------------------

.PHONY: install clean distclean help
share := $(DESTDIR)$(PREFIX)/share
install: $(B)/becket
	install -d '$(DESTDIR)$(PREFIX)/bin' '$(share)/man/man1' '$(share)/bash-completion/completions'
	install -m 755 $(B)/becket '$(DESTDIR)$(PREFIX)/bin/becket'
	$(B)/becket help --man > '$(share)/man/man1/becket.1'
	$(B)/becket help --completion bash > '$(share)/bash-completion/completions/becket'

# Keeps the libraries and their archives, and the data of `make run`.
clean:
	$(Q)rm -rf $(VARIANTS:%=$(B)/%) $(B)/becket $(B)/crash $(B)/compile_commands.json

distclean:
	$(Q)rm -rf $(B)

help:
	@echo 'make             build build/becket (VARIANT=release|asan|tsan|fuzz|cov, SYSTEM_LIBS=1, WERROR=1, V=1)'
	@echo 'make run         build, then serve in the foreground with its data in build/run'
	@echo 'make test        every test; `make check` is the same'
	@echo 'make test-programs       what it runs is built, and none of it run'
	@echo 'make unit        unit tests only: T=http_parse, VARIANT=asan, MODULES="base http"'
	@echo 'make tidy        what the source must look like'
	@echo 'make sim         simulator: SEEDS=200 SEED=1, VARIANT=asan'
	@echo 'make catalogue   src/providers/CATALOGUE.md out of the table of providers'
	@echo 'make fuzz        libFuzzer: FUZZ_SECONDS=60, FUZZ_SEED=0, FUZZ_TARGET=http_request (needs clang)'
	@echo 'make bench       benchmarks of bench/'
	@echo 'make lint        everything through clang with -Werror'
	@echo 'make advice      what clang-tidy suspects'
	@echo 'make format      clang-format over all C files'
	@echo 'make cov         coverage of the unit tests and the fuzz corpus, by folder and by file'
	@echo 'make install     program, manual page and completion to PREFIX=/usr/local, below DESTDIR'
	@echo 'make compile_commands   build/compile_commands.json for editors'
	@echo 'make vendor-archive DIR=...   source archives of the libraries, for machines without a network'
	@echo 'make clean       all but the libraries and the data of `make run`; make distclean: all of build/'
