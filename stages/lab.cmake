# What scripts/lab and scripts/exercise have laid out in lab/ are stages that a student writes. Each builds a program such as
# build/release/lab/04/04_generators by a target such as lab_04, and only if it is asked for: a lab that does not compile must
# not stop other builds. The program has the name of the stage, by which the suites know what to ask it for. No warning is an
# error.
function(add_lab target folder stage)
  set(output ${PROJECT_BINARY_DIR}/${folder})
  file(MAKE_DIRECTORY ${output})
  file(COPY_FILE ${CMAKE_CURRENT_BINARY_DIR}/stages.tsv ${output}/stages.tsv ONLY_IF_DIFFERENT)
  get_target_property(libraries ${stage} LINK_LIBRARIES)
  add_executable(${target} EXCLUDE_FROM_ALL ${ARGN} ${CMAKE_CURRENT_BINARY_DIR}/${stage}.about.cpp)
  target_link_libraries(${target} PRIVATE ${libraries})
  set_property(SOURCE ${ARGN} APPEND PROPERTY COMPILE_OPTIONS -Wno-error)  # behind the options of the target
  set_target_properties(${target} PROPERTIES OUTPUT_NAME ${stage} RUNTIME_OUTPUT_DIRECTORY ${output})
endfunction()

file(GLOB labs CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/lab/*/*.cpp)
foreach(source ${labs})
  if(NOT source MATCHES "^lab/([0-9]+[a-z]?)/([0-9]+[a-z]?_[0-9a-z_]+)\\.cpp$")
    continue()  # for example lab/04.old-1
  endif()
  set(number ${CMAKE_MATCH_1})
  set(stage ${CMAKE_MATCH_2})
  if(NOT TARGET ${stage})
    continue()
  endif()
  add_lab(lab_${number} lab/${number} ${stage} ${PROJECT_SOURCE_DIR}/${source})
endforeach()

# An exercise may change parts of common/ as well. Its headers are found before ours, and what its sources define is linked
# in place of what the library has.
file(GLOB exercises CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/lab/exercises/*/stages/*.cpp)
foreach(source ${exercises})
  if(NOT source MATCHES "^lab/exercises/([0-9a-z_]+)-([0-9]+)/stages/([0-9a-z_]+)\\.cpp$")
    continue()
  endif()
  set(name ${CMAKE_MATCH_1}-${CMAKE_MATCH_2})
  set(target exercise_${CMAKE_MATCH_1}_${CMAKE_MATCH_2})
  set(stage ${CMAKE_MATCH_3})
  if(NOT TARGET ${stage})
    continue()
  endif()
  set(folder ${PROJECT_SOURCE_DIR}/lab/exercises/${name})
  file(GLOB_RECURSE parts CONFIGURE_DEPENDS ${folder}/common/*.cpp)
  add_lab(${target} lab/exercises/${name} ${stage} ${PROJECT_SOURCE_DIR}/${source} ${parts})
  target_include_directories(${target} BEFORE PRIVATE ${folder})
endforeach()
