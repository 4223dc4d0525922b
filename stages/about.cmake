# A stage's --help shows the head of its source. Run by the build:
#   cmake -D SOURCE=02_threads.cpp -D OUTPUT=02_threads.about.cpp -P about.cmake
# A program that is built from another stage's source has a name of its own: -D NAME=07c_io_uring.
cmake_path(GET SOURCE STEM name)
file(READ ${SOURCE} text)
# "// 02_threads.cpp -- one thread per client."
if(NOT text MATCHES "^// ${name}\\.cpp -- ([^\n]+)\n//\n// Changed since ")
  message(FATAL_ERROR "stages/${name}.cpp has to begin with '// ${name}.cpp -- what it is', '//' and '// Changed since ...'")
endif()
string(SUBSTRING "${CMAKE_MATCH_1}" 0 1 initial)
string(SUBSTRING "${CMAKE_MATCH_1}" 1 -1 rest)
string(TOUPPER "${initial}" initial)
set(teaches "${initial}${rest}\n")
foreach(key Buys Costs)
  # The line that begins with the key, and those that go on with it: they are indented.
  if(NOT text MATCHES "\n(// ${key}: [^\n]+(\n//   [^\n]+)*)\n")
    message(FATAL_ERROR "the head of stages/${name}.cpp has no '${key}:'")
  endif()
  string(REGEX REPLACE "(^|\n)// " "\\1" lines "${CMAKE_MATCH_1}")
  string(APPEND teaches "\n${lines}")
endforeach()
if(NOT DEFINED NAME)
  set(NAME ${name})
endif()
if(NOT NAME STREQUAL name)
  # What this stage is, only the heading of its page says: "# 07c: another loop below the same coroutines"
  cmake_path(GET SOURCE PARENT_PATH folder)
  file(STRINGS ${folder}/../docs/${NAME}.md heading REGEX "^# [0-9a-z]+: " LIMIT_COUNT 1)
  string(REGEX REPLACE "^# [0-9a-z]+: " "" heading "${heading}")
  string(SUBSTRING "${heading}" 0 1 initial)
  string(SUBSTRING "${heading}" 1 -1 rest)
  string(TOUPPER "${initial}" initial)
  set(teaches "${initial}${rest}.\n\nThe source is that of ${name}. docs/${NAME}.md says what is different.\n")
endif()
file(WRITE ${OUTPUT} "// Made from the head of stages/${name}.cpp.
#include \"common/server/options.hpp\"
const ground::About ground::about{\"${NAME}\", R\"about(${teaches})about\"};
")
