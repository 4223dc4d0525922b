# Wrong turns are stages with a mistake in them, made by the patches in wrong_turns/. Each is built only if it is asked for:
# cmake --build build/release --target wrong_turn_05_poke_forgotten, or wrong_turns for all of them.
set(wrong_turns_py ${PROJECT_SOURCE_DIR}/scripts/shared/wrong_turns.py)
set(wrong_turns_folder ${CMAKE_CURRENT_BINARY_DIR}/wrong_turns)
file(GLOB patches CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/wrong_turns/*.patch)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${patches} ${wrong_turns_py})
find_program(GROUND_PYTHON python3)
set(rows "")
if(GROUND_PYTHON)
  execute_process(COMMAND ${GROUND_PYTHON} ${wrong_turns_py} --tsv OUTPUT_VARIABLE rows COMMAND_ERROR_IS_FATAL ANY)
else()
  message(STATUS "Without Python there are no wrong turns. On Debian or Ubuntu: apt-get install python3")
endif()
string(REGEX MATCHALL "[^\n]+" rows "${rows}")
add_custom_target(wrong_turns)
set(table "")
foreach(row ${rows})
  string(REPLACE "\t" ";" fields "${row}")
  list(GET fields 0 name)
  list(GET fields 1 stage)
  if(NOT TARGET ${stage})
    continue()
  endif()
  set(source ${wrong_turns_folder}/${name}.cpp)
  add_custom_command(
    OUTPUT ${source}
    COMMAND ${GROUND_PYTHON} ${wrong_turns_py} --apply ${CMAKE_CURRENT_SOURCE_DIR}/wrong_turns/${name}.patch ${source}
    DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/wrong_turns/${name}.patch ${CMAKE_CURRENT_SOURCE_DIR}/${stage}.cpp ${wrong_turns_py}
    VERBATIM)
  get_target_property(libraries ${stage} LINK_LIBRARIES)
  add_executable(wrong_turn_${name} EXCLUDE_FROM_ALL ${source} ${CMAKE_CURRENT_BINARY_DIR}/${stage}.about.cpp)
  target_link_libraries(wrong_turn_${name} PRIVATE ${libraries})
  set_target_properties(wrong_turn_${name} PROPERTIES OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY ${wrong_turns_folder})
  add_dependencies(wrong_turns wrong_turn_${name})
  # As the seams name it.
  file(RELATIVE_PATH file ${PROJECT_SOURCE_DIR} ${source})
  string(APPEND table "${row}\t${file}\n")
endforeach()
file(CONFIGURE OUTPUT ${wrong_turns_folder}/wrong_turns.tsv CONTENT "${table}" @ONLY)
